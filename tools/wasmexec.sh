#!/bin/sh
# Runs a program that Go compiled for js/wasm under node, connected to the functions with SIMD that it
# imports: GOOS=js GOARCH=wasm go test -exec "$PWD/tools/wasmexec.sh" ./engine/cpu
# Node 20 has relaxed SIMD behind a flag, which newer ones do not know. The stack is as large as that of Go's
# own go_js_wasm_exec.
relaxed=--experimental-wasm-relaxed-simd
node $relaxed -e 0 2>/dev/null || relaxed=
root=$(cd "$(dirname "$0")/.." && pwd)
exec node $relaxed --stack-size=8192 --require "$root/shaders/wasm/node.js" "$(go env GOROOT)/lib/wasm/wasm_exec_node.js" "$@"
