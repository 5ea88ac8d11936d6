#!/bin/sh
# Runs the inner loops for arm64 under qemu: "make test-arm64". They are compared with their forms in
# Go, and the kernels that call them with their references; vlmtool, built for both processors, must
# give the same answer. On an arm64 machine they run without qemu. Without qemu or arm64's C library
# it is skipped with a message.
set -eu
cd "$(dirname "$0")/.."
export QEMU_LD_PREFIX="${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}" GOARCH=arm64 CGO_ENABLED=0
skip() {
	echo "arm64 is not tested: $1 (Debian: apt install qemu-user-static libc6-arm64-cross)"
	exit 0
}
emulate=
if [ "$(go env GOHOSTARCH)" != arm64 ]; then
	emulate=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || skip "there is no qemu-aarch64"
	[ -e "$QEMU_LD_PREFIX/lib/ld-linux-aarch64.so.1" ] || skip "there is no $QEMU_LD_PREFIX/lib/ld-linux-aarch64.so.1"
fi

# Without what asks more of GPUs, and with 16 bits in bf16 only: qemu is slow.
kernels='^(matmul.*|rmsnorm.*|layernorm.*|softmax.*|attention.*|swiglu.*|gelu.*|rope_split|rope_split_backward|adamw|peak_fma|embed_quant.*)$'
go vet ./shaders/simd ./shaders/quant/simd ./engine/cpu
go test -exec "$emulate" ./shaders/simd ./shaders/quant/simd
if [ -n "$emulate" ]; then # a processor without dot products of bytes
	go test -exec "$emulate -cpu cortex-a72" ./shaders/quant/simd
fi
PATCHWORK_DEVICES=cpu go test -short -exec "$emulate" -run "TestGemm/NEON|TestTiling/NEON|TestConformance/Kernels/$kernels" \
	-skip 'TestConformance/Kernels/.*/.*(,_f16_in|_parts|655[0-9][0-9])' ./engine/cpu

out=out/arm64
rm -rf $out && mkdir -p $out
go build -tags nowebgpu,nodynamic -o $out/arm64/ ./tools/vlmtool
GOARCH=$(go env GOHOSTARCH) go build -tags nowebgpu,nodynamic -o $out/ ./tools/vlmtool ./tools/shapesdata
$out/shapesdata --out $out/data >/dev/null
$out/vlmtool train --preset shapes --steps 60 --val-every 0 --device cpu --data "$out/data/train-*.parquet" --out $out/model >/dev/null 2>$out/log || {
	cat $out/log
	exit 1
}
ask() {
	"$@" infer --model $out/model --device cpu --image docs/demo.png --prompt "what shape is red?" --max-new-tokens 8
}
ask $out/vlmtool >$out/answer
ask $emulate $out/arm64/vlmtool >$out/arm64/answer
cmp $out/answer $out/arm64/answer || {
	echo "the answers differ: $out/answer, $out/arm64/answer" >&2
	exit 1
}
echo "vlmtool for arm64 gives the same answer: $(cat $out/answer)"
