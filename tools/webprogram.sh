#!/bin/sh
# Builds what vlmtool export --web puts into a site beside the model, into package web, which
# embeds it: the programs for js/wasm, compressed, and Go's script that starts them.
set -eu
cd "$(dirname "$0")/.."

into=tools/vlmtool/internal/web/program
mkdir -p $into out
program() {
	CGO_ENABLED=0 GOOS=js GOARCH=wasm go build -trimpath -ldflags='-s -w' -o out/$1.wasm ./tools/vlmtool/$1
	if [ ! -e $into/$2 ] || ! gzip -dc $into/$2 | cmp -s - out/$1.wasm; then
		gzip -9nc out/$1.wasm > out/$2
		mv out/$2 $into/$2
	fi
}
program webmodel program.bin
program webtrain train.bin

# Copied only if it has changed, so that Go does not build vlmtool again.
exec=$(go env GOROOT)/lib/wasm/wasm_exec.js
cmp -s "$exec" $into/wasm_exec.js || cp "$exec" $into/
