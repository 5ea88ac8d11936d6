#!/bin/sh
# Builds what vlmtool export --web puts into a site beside the model, into package web, which
# embeds it: the program for js/wasm, compressed, and the scripts that start it.
set -eu
cd "$(dirname "$0")/.."

into=tools/vlmtool/internal/web/program
mkdir -p out
CGO_ENABLED=0 GOOS=js GOARCH=wasm go build -trimpath -ldflags='-s -w' -o out/webmodel.wasm ./tools/vlmtool/webmodel
if [ ! -e $into/program.bin ] || ! gzip -dc $into/program.bin | cmp -s - out/webmodel.wasm; then
	gzip -9nc out/webmodel.wasm > $into/program.part
	mv $into/program.part $into/program.bin
fi

# A copy only of what has changed, so that Go does not build vlmtool again.
copy() {
	cmp -s "$1" "$into/$(basename "$1")" || cp "$1" $into/
}
copy "$(go env GOROOT)/lib/wasm/wasm_exec.js"
copy shaders/wasm/simd.js
copy engine/browser/browser.js
