# `make help` lists the targets.

# The demo's files, and how long it trains.
DEMO       := demo
DEMO_STEPS := 3000
DEMO_BIN   := out/demo

# Where a C compiler works, Go uses it: the Vulkan and WebGPU backends need it.
GO = CGO_ENABLED=$$(tools/deps.sh cgo) go

# Without nodynamic the AVIF decoder would prefer a libavif of the system to its own;
# that is not tested.
TAGS = -tags nodynamic

# WebGPU's library is a download of 124 MB, which neither the demo nor a bundle needs.
SMALL = -tags nowebgpu,nodynamic

.PHONY: build
build: program ## build bin/vlmtool (the default)
	@$(GO) build $(TAGS) -o bin/vlmtool ./tools/vlmtool

# What export --web puts beside a model; vlmtool embeds it.
.PHONY: program
program:
	@tools/webprogram.sh

.PHONY: demo
demo: ## train from scratch on images of shapes and write demo/index.html
	@tools/deps.sh demo
	@echo "building (the first time takes a minute or two)"
	@$(MAKE) -s program
	@$(GO) build $(SMALL) -o $(DEMO_BIN)/ ./tools/vlmtool ./tools/shapesdata ./tools/docs/demoreport
	@$(MAKE) -s demo-install
	@rm -rf $(DEMO)
	@$(DEMO_BIN)/shapesdata --out $(DEMO)/data
	@$(DEMO_BIN)/vlmtool train --preset shapes --steps $(DEMO_STEPS) --data '$(DEMO)/data/train-*.parquet' --out $(DEMO)/model
	@for control in none blank shuffled; do \
		$(DEMO_BIN)/vlmtool eval --model $(DEMO)/model --data '$(DEMO)/data/test-*.parquet' --control $$control --json --answers \
			> $(DEMO)/eval-$$control.jsonl || exit; \
	done
	@$(DEMO_BIN)/demoreport $(DEMO)
	@$(DEMO_BIN)/vlmtool export --quiet --web --training-page --model $(DEMO)/model --example $(DEMO)/example.png --out $(DEMO)/web
	@echo "Or ask it on a web page in which it runs: bin/vlmtool web $(DEMO)/web"

# What the model hears is in tools/wordsdata: words, voices and which of them are held out.
DEMO_AUDIO       := demo-audio
DEMO_AUDIO_STEPS := 3500

.PHONY: demo-audio
demo-audio: ## train from scratch on spoken words and write demo-audio/index.html
	@tools/deps.sh demo-audio
	@echo "building (the first time takes a minute)"
	@$(GO) build $(SMALL) -o $(DEMO_BIN)/ ./tools/vlmtool ./tools/wordsdata ./tools/docs/demoreport
	@$(MAKE) -s demo-install
	@rm -rf $(DEMO_AUDIO)
	@$(DEMO_BIN)/wordsdata --out $(DEMO_AUDIO)/data
	@$(DEMO_BIN)/vlmtool train --preset words --steps $(DEMO_AUDIO_STEPS) --data '$(DEMO_AUDIO)/data/train-*.parquet' --out $(DEMO_AUDIO)/model
	@for control in none blank shuffled; do \
		$(DEMO_BIN)/vlmtool eval --model $(DEMO_AUDIO)/model --data '$(DEMO_AUDIO)/data/test-*.parquet' --control $$control --json --answers \
			> $(DEMO_AUDIO)/eval-$$control.jsonl || exit; \
	done
	@$(DEMO_BIN)/demoreport $(DEMO_AUDIO)

# The demo's vlmtool becomes bin/vlmtool if there is none, or if that is without WebGPU. One
# that make built is kept.
.PHONY: demo-install
demo-install:
	@if [ ! -e bin/vlmtool ] || go version -m bin/vlmtool 2>/dev/null | grep -q -- '-tags=nowebgpu'; then \
		mkdir -p bin && cp $(DEMO_BIN)/vlmtool bin/vlmtool; \
	fi

# The daily check: short tests on the CPU only. The GPU backends' own tests need a Vulkan or
# WebGPU device and minutes; make test has them.
.PHONY: check
check: ## vet, and run the fast tests on the CPU (under two minutes)
	@$(GO) vet ./engine/vulkan ./engine/webgpu
	@PATCHWORK_DEVICES=cpu $(GO) test -short -vet=all $$(go list ./... | grep -vE '^patchwork/engine/(vulkan|webgpu)$$')

.PHONY: test
test: ## vet and test everything; Vulkan and WebGPU run in software (lavapipe)
	@tools/deps.sh $(REQUIRE) test
	@tools/webprogram.sh
	@$(GO) vet ./...
	@$(GO) test -timeout 40m ./...

# Package by package, since two at once want more memory than many machines have. -short
# leaves out large cases; -race also checks pointers to C's and other memory (checkptr).
RACE := ./engine/... ./nn/... ./vlm/... ./tools/vlmtool/... ./tools/internal/...
.PHONY: race
race: ## run the race detector over engine, nn, vlm and vlmtool (half an hour; RACE=./vlm)
	@CGO_ENABLED=1 go test -race -short -p 1 -timeout 60m $(RACE)

# CI runs this: the packages that start goroutines, and the tests that stop, resume and close
# training and the Vulkan backend.
RACE_QUICK := ./internal/mpi ./engine ./engine/cpu ./nn/gguf ./vlm/checkpoint ./vlm/data ./vlm/hub/... ./vlm/importer ./tools/internal/... ./tools/vlmtool/internal/...
.PHONY: race-quick
race-quick: ## run the race detector over the packages with goroutines (some five minutes)
	@PATCHWORK_DEVICES=cpu CGO_ENABLED=1 go test -race -short -p 1 -timeout 30m -skip '^TestGemm|^TestTiling' $(RACE_QUICK)
	@PATCHWORK_DEVICES=cpu CGO_ENABLED=1 go test -race -short -timeout 30m -run 'Resume|Save|Stop|Interrupt|Memory|Rank' ./vlm/train
	@CGO_ENABLED=1 go test -race -short -timeout 30m -run 'Close|Timeout|Replay|Staged|Alloc|Fault' ./engine/vulkan

# KERNEL=softmax and DEVICE=vulkan select by regular expression; COUNT=200 plants a
# sample of the errors, CPU=1 plants them in the CPU forms.
KERNEL :=
DEVICE :=
COUNT  := 0
CPU    :=
.PHONY: conformance
conformance: ## check every kernel on every device against its reference
	@$(GO) run ./tools/conformance -kernel '$(KERNEL)' -device '$(DEVICE)'

.PHONY: mutants
mutants: ## plant errors in the kernels, each of which the conformance cases must detect
	@$(GO) build -o bin/mutants ./tools/mutants
	@bin/mutants -kernel '$(KERNEL)' -count $(COUNT) $(if $(CPU),-cpu)

# PATCHWORK_SID=DIR is Debian sid's root folder, created if needed.
.PHONY: test-mesa
test-mesa: ## check the kernels with cooperative matrices on a newer Mesa
	@tools/testmesa.sh

# PATCHWORK_TRIXIE=DIR is Debian 13's root folder, created if needed; PATCHWORK_NVK=DIR a
# folder in it with NVK and its shim. ARGS="--kernel matmul" CHIP=navi21 prints instead.
ARGS :=
.PHONY: kernelstats
kernelstats: ## write docs/kernel-statistics.md: what GPUs' compilers make of the kernels
	@tools/kernelstats.sh $(ARGS)

.PHONY: test-swiftshader
test-swiftshader: ## check kernels, models and training on SwiftShader, a third Vulkan driver
	@tools/testswiftshader.sh

.PHONY: test-validation
test-validation: ## check kernels, training and answers under Vulkan's validation layer
	@tools/testvalidation.sh

.PHONY: test-arm64
test-arm64: ## check the inner loops for arm64 and vlmtool under qemu (under a minute)
	@tools/testarm64.sh

.PHONY: test-wasm
test-wasm: ## check the CPU backend as WebAssembly under node (a few minutes)
	@tools/testwasm.sh

# ARGS="-run TestDevice" runs other tests.
.PHONY: test-browser
test-browser: ## check WebGPU of a web page in a headless Chromium (a minute)
	@tools/testbrowser.sh $(ARGS)

# PATCHWORK_TRIXIE=DIR is Debian 13's root folder, created if needed.
.PHONY: test-wine
test-wine: ## check the build for Windows with Vulkan under Wine
	@tools/testwine.sh

# Run by its version, so that it is not in go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
.PHONY: lint
lint: ## gofmt, vet and staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }
	@$(GO) vet ./...
	@$(GO) run $(STATICCHECK) $(TAGS) ./...

.PHONY: bench
bench: build ## measure a training step of the shapes preset and its kernels
	@bin/vlmtool bench train --preset shapes --batch-size 6 --seq-len 208
	@bin/vlmtool bench kernels --preset shapes --batch-size 6 --seq-len 208

# The measurements of docs/benchmarks.md. GGML and PYTORCH are commands, made from the
# files in tools/benchpeer/peers, with which tools/benchpeer measures matmuls and
# attention interleaved; both are optional:
#
#	make bench-page GGML="env GGML_VK_VISIBLE_DEVICES=0 out/ggml" PYTORCH="python3 tools/benchpeer/peers/pytorch.py" NOTE="two idle cores of …"
#
# PEER="NAME=FILE.jsonl" adds square matmuls of a peer.
GGML :=
PYTORCH :=
PEER :=
NOTE :=
# The presets whose matmuls are measured.
PEER_PRESETS := smollm2-135m,smollm2-360m,qwen3-1.7b
.PHONY: bench-page
bench-page: build ## measure every kernel on the CPU and the first Vulkan device, and write docs/benchmarks.md
	@mkdir -p out/bench
	@for device in cpu vulkan:0; do \
		bin/vlmtool bench kernels --device $$device --json --time-limit 60s --plot docs/roofline-$${device%%:*}.png > out/bench/shapes-$${device%%:*}.jsonl || exit; \
		bin/vlmtool bench kernels --device $$device --json --preset smollm2-135m --seq-len 1024 --work train --count 3 --case-time 3s --time-limit 150s \
			> out/bench/smollm2-135m-$${device%%:*}.jsonl || exit; \
	done
	@mkdir -p bin && $(GO) build -o bin/ ./tools/benchpeer
	@rm -f out/bench/ggml.jsonl out/bench/pytorch.jsonl
	@if [ -n "$(GGML)" ]; then bin/benchpeer --presets $(PEER_PRESETS) --peer ggml --kernels matmul --device vulkan:0 -- $(GGML) > out/bench/ggml.jsonl; fi
	@if [ -n "$(PYTORCH)" ]; then bin/benchpeer --presets $(PEER_PRESETS) --peer PyTorch --kernels matmul,attention,attention_backward --work train --device cpu --dtypes f32,bf16 --time 500ms --serve -- $(PYTORCH) serve > out/bench/pytorch.jsonl; fi
	@go run ./tools/docs/benchpage --peer "$(PEER)" --peer "$(if $(GGML),ggml=out/bench/ggml.jsonl)" --peer "$(if $(PYTORCH),PyTorch=out/bench/pytorch.jsonl)" --note "$(NOTE)" out/bench/shapes-cpu.jsonl out/bench/shapes-vulkan.jsonl \
		out/bench/smollm2-135m-cpu.jsonl out/bench/smollm2-135m-vulkan.jsonl > out/bench/page.md
	@mv out/bench/page.md docs/benchmarks.md

# PILLOW is a Python with Pillow, with which tools/imagepeer measures images interleaved.
PILLOW := python3
.PHONY: image-page
image-page: ## measure the decoding of images beside Pillow, and write docs/image-speed.md
	@mkdir -p bin out && $(GO) build -o bin/ ./tools/imagepeer
	@bin/imagepeer --peer Pillow --note "$(NOTE)" --sizes 0,256,512 -- $(PILLOW) tools/imagepeer/pillow.py > out/image-speed.md
	@mv out/image-speed.md docs/image-speed.md

# Training and test files of docs/architectures.md, and a GGUF file or folder of SmolLM2-135M:
#
#	make architectures DATA="--data 'easyvqa@1000=DIR/train-*.parquet:DIR/test-*.parquet'" DECODER=FILE
#
# Without DATA it is the images of make demo.
DATA    :=
DECODER :=
.PHONY: architectures
architectures: ## train the systems of docs/architectures.md at equal FLOPs, and write the page (an hour)
	@mkdir -p out && $(GO) build $(SMALL) -o out/architectures-bin/ ./tools/vlmtool ./tools/shapesdata ./tools/docs/architectures
	@if [ -z "$(DATA)" ] && [ ! -d out/architectures-data ]; then out/architectures-bin/shapesdata --out out/architectures-data; fi
	@out/architectures-bin/architectures --vlmtool out/architectures-bin/vlmtool --decoder "$(DECODER)" --note "$(NOTE)" $(ARGS) \
		$(if $(DATA),$(DATA),--data 'shapes=out/architectures-data/train-*.parquet:out/architectures-data/test-*.parquet')

.PHONY: live-screenshot
live-screenshot: build ## train, and take docs/live.png of terminal and page (needs chromium)
	@mkdir -p out && $(GO) run ./tools/shapesdata --out out/live-data >/dev/null
	@$(GO) run ./tools/docs/liveshot --data 'out/live-data/train-*.parquet' --out docs/live.png

.PHONY: chat-screenshot
chat-screenshot: build ## take docs/chat.png of the chat page, with the demo's model (after make demo; needs chromium)
	@test -d $(DEMO)/model || { echo "no $(DEMO)/model: run make demo first"; exit 1; }
	@$(GO) run ./tools/docs/chatshot --model $(DEMO)/model --image $(DEMO)/example.png --out docs/chat.png

.PHONY: web-screenshot
web-screenshot: build ## take docs/web.png of the demo's site (after make demo; needs chromium)
	@test -d $(DEMO)/web || { echo "no $(DEMO)/web: run make demo first"; exit 1; }
	@$(GO) run ./tools/docs/chatshot --site $(DEMO)/web --image $(DEMO)/example.png --height 560 --question "what color is the triangle?" --word blue --out docs/web.png

# The figures of docs/how-it-works.md, from the model of `make demo`.
FIGURES := docs/how-it-works
.PHONY: figures
figures: build ## draw the figures of docs/how-it-works.md from the demo's model (after make demo)
	@test -d $(DEMO)/model || { echo "no $(DEMO)/model: run make demo first"; exit 1; }
	@bin/vlmtool inspect $(DEMO)/model --image $(DEMO)/example.png --figures $(FIGURES)
	@bin/vlmtool infer --model $(DEMO)/model --image $(DEMO)/example.png --prompt "what color is the triangle?" --explain $(FIGURES)/color.png
	@bin/vlmtool infer --model $(DEMO)/model --image $(DEMO)/example.png --prompt "what shape is green?" --explain $(FIGURES)/shape.png

.PHONY: shaders
shaders: ## compile changed kernels to SPIR-V (needs naga, for .comp files glslc)
	@go run ./tools/shadergen

.PHONY: shaders-check
shaders-check: ## list the kernels whose SPIR-V is stale
	@go run ./tools/shadergen -check

# Debian's libraries that load a Vulkan driver and that NVIDIA's driver asks for,
# for machines without libvulkan.so.1. Skipped if apt-get cannot download them.
LOADER := libvulkan1 libglvnd0 libegl1 libgl1 libglx0 libopengl0 libgles2 libx11-6 libxext6 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0
BUNDLE := out/gpu-report
STRIP  := -trimpath -ldflags '-s -w'
.PHONY: gpu-report
gpu-report: ## pack a bundle for a machine with a GPU: out/gpu-report.tar.gz
	@rm -rf $(BUNDLE) && mkdir -p $(BUNDLE)/loader
	@CGO_ENABLED=1 go build $(SMALL) $(STRIP) -o $(BUNDLE)/ ./tools/vlmtool ./tools/benchpeer ./tools/gpureport ./tools/shapesdata
	@CGO_ENABLED=1 go test -c $(STRIP) -o $(BUNDLE)/vulkan.test ./engine/vulkan
	@cp tools/gpureport.sh $(BUNDLE)/run.sh
	@cp tools/benchpeer/peers/pytorch.py $(BUNDLE)/
	@cd $(BUNDLE)/loader && mkdir debs && (cd debs && apt-get download -qq $(LOADER) >/dev/null 2>&1; \
		for deb in *.deb; do dpkg-deb -x $$deb . 2>/dev/null; done; true) && \
		find debs -name 'lib*.so.*' -type l | while read -r link; do cp -L "$$link" .; done; rm -rf debs
	@ls $(BUNDLE)/loader/libvulkan.so.1 >/dev/null 2>&1 || { rm -rf $(BUNDLE)/loader; echo "without libvulkan.so.1 for machines that lack it: apt-get download failed"; }
	@tar -C out -czf $(BUNDLE).tar.gz gpu-report
	@test $$(wc -c < $(BUNDLE).tar.gz) -le 62914560 || { echo "$(BUNDLE).tar.gz is larger than 60 MiB"; exit 1; }
	@echo "$(BUNDLE).tar.gz: unpack it on a machine with a GPU, run gpu-report/run.sh, read gpu-report/report/report.md"

# ONLY=linux-amd64 builds only for that system.
ONLY :=
.PHONY: dist
dist: program ## build release archives of vlmtool: dist/*.tar.gz, *.zip, SHA256SUMS
	@go run ./tools/dist $(if $(ONLY),--only $(ONLY))

.PHONY: man
man: build ## write the man pages to out/man
	@bin/vlmtool man out/man

FUZZTIME := 1m
.PHONY: fuzz
fuzz: ## fuzz every parser of outside bytes, a minute each (FUZZTIME=1m)
	@grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' "$$file"); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "./$$(dirname "$$file")" || exit; \
		done; \
	done

KILLS := 50
.PHONY: crashtest
crashtest: build ## kill training runs KILLS=50 times, fill their disk, damage their checkpoints
	@go run ./tools/crashtest --vlmtool bin/vlmtool --kills $(KILLS)

.PHONY: clean
clean: ## delete build outputs and the demo
	@rm -rf bin out dist $(DEMO) $(DEMO_AUDIO)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name about; do printf '  make %-14s %s\n' "$$name" "$$about"; done
