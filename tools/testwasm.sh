#!/bin/sh
# Runs the CPU backend as WebAssembly under node: "make test-wasm". The inner loops with SIMD, and those with
# relaxed SIMD where node has it, are compared with their forms in Go, and every kernel with its reference;
# then a part of the kernels as where there is no SIMD. Without node 18 or newer it is skipped with a message.
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
part='^(matmul.*|rmsnorm.*|attention|embed_quant|swiglu.*|softmax)$'
large='TestConformance/Kernels/.*/.*(,_f16_in|_parts|655[0-9][0-9])'
go vet ./engine ./engine/cpu ./shaders/simd ./shaders/quant/simd
go build -tags nowebgpu,nodynamic ./vlm/...
for level in 1 2; do
	PATCHWORK_WASM_SIMD=$level go test -short -exec "$run" ./shaders/simd ./shaders/quant/simd
done
PATCHWORK_WASM_SIMD=1 go test -short -exec "$run" ./engine/cpu
PATCHWORK_WASM_SIMD=2 go test -short -exec "$run" -run "TestGemm|TestConformance/Kernels/$part" -skip "$large" ./engine/cpu
PATCHWORK_WASM_SIMD=0 go test -short -exec "$run" -run "TestGemm|TestConformance/Programs|TestConformance/Kernels/$part" -skip "$large" ./engine/cpu
