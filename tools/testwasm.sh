#!/bin/sh
# Runs the CPU backend as WebAssembly under node: "make test-wasm". The inner loops with SIMD are compared
# with their forms in Go, and every kernel with its reference; then a part of them as where there is no SIMD.
# Without node 18 or newer it is skipped with a message.
set -eu
cd "$(dirname "$0")/.."
skip() {
	echo "WebAssembly is not tested: $1 (Debian: apt install nodejs)"
	exit 0
}
command -v node >/dev/null || skip "there is no node"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 18 ] || skip "node $(node --version) is older than 18"

export GOOS=js GOARCH=wasm PATCHWORK_DEVICES=cpu
run="$PWD/tools/wasmexec.sh"
go vet ./shaders/simd ./shaders/quant/simd ./engine/cpu
go build -tags nowebgpu,nodynamic ./vlm/...
go test -short -exec "$run" ./shaders/simd ./shaders/quant/simd ./engine/cpu
PATCHWORK_WASM_SIMD=0 go test -short -exec "$run" -run 'TestGemm|TestConformance/(Programs|Kernels/(matmul.*|rmsnorm.*|attention|embed_quant))$' \
	-skip 'TestConformance/Kernels/.*/.*(,_f16_in|_parts|655[0-9][0-9])' ./engine/cpu
