#!/bin/sh
# Runs on a machine with a GPU, from the bundle of `make gpu-report`: reports the device's
# features, the conformance of the kernels, and the speed of matmuls, attention, training,
# generation and the embedder, compared with PyTorch where python3 has it.
#
#   ./run.sh             everything, within BUDGET seconds (540)
#   ./run.sh train       only the parts whose name matches the expression
#
# It needs glibc and the GPU's driver; if the system has no libvulkan.so.1, the libraries
# in loader/ are used. VK_DRIVER_FILES is the driver's JSON, if the loader does not find it.
# PYTHON is a Python with PyTorch. Parts run in order of importance, each with its own time
# limit; report/report.md and report.json are rewritten after each, so that only the part
# that is interrupted is lost.
set -u
cd "$(dirname "$0")" || exit 1
only=${1:-.}
out=report
deadline=$(($(date +%s) + ${BUDGET:-540}))
rm -rf $out && mkdir -p $out || exit 1
export XDG_CACHE_HOME="$PWD/cache"

report() { timeout -k 1 20 ./gpureport $out; }
trap 'report; exit 130' INT TERM

# Libraries that the machine lacks.
has() { { /sbin/ldconfig -p || ldconfig -p; } 2>/dev/null | grep -qF "$1 "; }
if [ -d loader ] && ! has libvulkan.so.1; then
	rm -rf lib && mkdir lib
	for file in loader/*; do
		has "${file#loader/}" || ln -s "../$file" lib/
	done
	export LD_LIBRARY_PATH="$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
# NVIDIA's driver in a place that the loader does not search, or without its JSON.
if [ -z "${VK_DRIVER_FILES:-}" ] && ! ls /etc/vulkan/icd.d/nvidia* /usr/share/vulkan/icd.d/nvidia* >/dev/null 2>&1; then
	for file in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd*.json /opt/nvidia/share/vulkan/icd.d/nvidia_icd*.json; do
		[ -e "$file" ] && export VK_DRIVER_FILES="$file"
	done
	if [ -z "${VK_DRIVER_FILES:-}" ] && has libGLX_nvidia.so.0; then
		printf '{"file_format_version":"1.0.1","ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.3.0"}}\n' >nvidia_icd.json
		export VK_DRIVER_FILES="$PWD/nvidia_icd.json"
	fi
fi

note() { # NAME LIMIT SECONDS RC
	printf '{"part":"%s","limit_s":%d,"seconds":%d,"rc":%d}\n' "$@" >>$out/parts.jsonl
}

# part NAME LIMIT COMMAND…: its output goes to report/NAME. A process that survives SIGKILL
# is abandoned. rc is 124 after a timeout, 125 if the part was not started.
part() {
	name=$1 limit=$2
	shift 2
	printf '%s\n' "$name" | grep -qE "$only" || [ "$name" = devices.jsonl ] || return 1
	begin=$(date +%s)
	left=$((deadline - begin))
	if [ $left -lt 5 ]; then
		note "$name" "$limit" 0 125
		return 1
	fi
	[ "$limit" -le $left ] || limit=$left
	printf '%-40s' "$name"
	timeout -k 5 "$limit" "$@" >"$out/$name" 2>"$out/$name.err" </dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null && [ $(($(date +%s) - begin)) -le $((limit + 8)) ]; do
		sleep 0.2
	done
	if kill -0 $pid 2>/dev/null; then
		rc=137
	else
		wait $pid
		rc=$?
	fi
	seconds=$(($(date +%s) - begin))
	note "$name" "$limit" $seconds $rc
	case $rc in
	0) echo "$seconds s" ;;
	124 | 137) echo "stopped after $seconds s" ;;
	*) echo "failed: $(tail -n 1 "$out/$name.err" | cut -c 1-150)" ;;
	esac
	report
	return $rc
}

uname -a >$out/machine.txt
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv >>$out/machine.txt 2>/dev/null

part devices.jsonl 30 ./vlmtool devices --json
gpu=$(grep '"device":"vulkan:' $out/devices.jsonl | grep -E '"kind":"(discrete|integrated|virtual)"' | head -n 1)
if [ -n "$gpu" ]; then
	presets='smollm2-135m qwen3-1.7b smollm2-360m' tests=TestHardware rows='8 4 2 1' tokens=2048
	squares=1024,2048,4096,8192 attention=2048,4096 images=64 generate='--prompt-tokens 290 --new 128' peer_generate='--prompt 290 --new 128'
else
	gpu=$(grep '"device":"vulkan:' $out/devices.jsonl | head -n 1)
	presets=shapes tests='TestSoftware/Kernels/^(add|softmax|rmsnorm|rope|embed|cross_entropy)$' rows=2 tokens=208
	squares=128,256 attention=512 images=4 generate='--prompt-tokens 100 --new 32' peer_generate='--prompt 100 --new 32'
fi
device=$(printf '%s' "$gpu" | sed -n 's/.*"device":"\([^"]*\)".*/\1/p')
: "${device:=vulkan:0}"
printf '%s\n' "$device" >$out/device.txt

for preset in $presets; do
	./vlmtool train --preset "$preset" --print-config >"$out/recipe-$preset.json"
done
python=${PYTHON:-python3}
peer() { # NAME LIMIT ARGUMENT…
	[ "$torch" = yes ] || return 1
	name=$1 limit=$2
	shift 2
	part "$name" "$limit" "$python" pytorch.py --device auto "$@"
}
if timeout -k 1 90 "$python" -c '
import json, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
print(json.dumps({"peer": "PyTorch " + torch.__version__, "on": gpu}))' >$out/peer.json 2>$out/peer.json.err; then
	torch=yes
else
	torch=no
fi

part conformance.txt 120 env REQUIRE_GPU=1 ./vulkan.test -test.v -test.run "$tests"

# Every matmul and every attention, interleaved with the peer's.
products="--device $device --kernels matmul,attention,attention_backward --work= --presets $(echo $presets | tr ' ' ,) --dtypes bf16,f32,f16 --squares $squares --attention $attention --time 200ms"
if [ $torch = yes ]; then
	part products.jsonl 120 ./benchpeer $products --peer PyTorch --serve -- "$python" pytorch.py --device auto serve
else
	part products.jsonl 90 ./benchpeer $products
fi

# From here on the tuned variants are used.
first=${presets%% *}
part "tune-$first.txt" 60 ./vlmtool tune --device "$device" --preset "$first" --batch-size ${rows%% *} --seq-len $tokens --dtype bf16

# train PRESET TYPE: with as many rows as fit in memory.
train() {
	for n in $rows; do
		fits=$n
		part "train-$1-$2.json" 60 ./vlmtool bench train --device "$device" --preset "$1" --batch-size "$n" --seq-len $tokens --dtype "$2" --json && return
		grep -qi memory "$out/train-$1-$2.json.err" 2>/dev/null || return
	done
}
compare() { # PRESET TYPES
	for dtype in $2; do
		train "$1" "$dtype"
	done
	peer "peer-train-$1.jsonl" 75 train --recipe "$out/recipe-$1.json" --rows "${fits:-1}" --tokens $tokens --modes "$3"
}
infer() {
	for dtype in bf16 f32; do
		part "infer-$1-$dtype.json" 45 ./vlmtool bench infer --device "$device" --preset "$1" --dtype $dtype $generate --json
	done
	peer "peer-decode-$1.jsonl" 60 decode --recipe "$out/recipe-$1.json" $peer_generate --modes bf16,f32
}
compare "$first" 'bf16 f32' bf16,f32,bf16-compiled
infer "$first"
for dtype in bf16 f32; do
	part "embedder-$first-$dtype.json" 30 ./vlmtool bench embedder --device "$device" --preset "$first" --dtype $dtype --batch-size $images --json
done
peer "peer-embedder-$first.jsonl" 45 embedder --recipe "$out/recipe-$first.json" --rows $images --modes bf16,f32
for preset in $presets; do
	[ "$preset" = "$first" ] && continue
	compare "$preset" bf16 bf16
	[ "$preset" = qwen3-1.7b ] && infer "$preset"
done
for preset in $presets; do
	for dtype in bf16 f32; do
		part "kernels-$preset-$dtype.jsonl" 50 ./vlmtool bench kernels --device "$device" --preset "$preset" --batch-size ${rows%% *} --seq-len $tokens --dtype "$dtype" \
			--count 3 --case-time 2s --time-limit 40s --json
	done
done
part "variants-$first-bf16.jsonl" 60 ./vlmtool bench kernels --device "$device" --preset "$first" --batch-size ${rows%% *} --seq-len $tokens --dtype bf16 \
	--variants --filter '^(matmul|attention)' --work train --count 3 --case-time 2s --time-limit 45s --json
# Training on images of shapes: do all types learn the same?
./shapesdata --out $out/data --train 1000 --test 40 >/dev/null 2>&1
for dtype in f32 bf16 f16; do
	part "learn-$dtype.json" 60 ./vlmtool train --device "$device" --preset shapes --steps 40 --warmup 10 --val-every 0 --save-every 0 --dtype $dtype \
		--data "$out/data/train-*.parquet" --out "$out/learned-$dtype" --json --quiet
done
rm -rf $out/data $out/learned-*
for preset in $presets; do
	[ "$preset" = "$first" ] && continue
	train "$preset" f32
done
report
echo "report/report.md, report/report.json"
