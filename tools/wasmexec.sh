#!/bin/sh
# Runs a program that Go compiled for js/wasm under node, connected to the functions with SIMD that it
# imports: GOOS=js GOARCH=wasm go test -exec "$PWD/tools/wasmexec.sh" ./engine/cpu
# The stack is as large as Go's own go_js_wasm_exec makes it.
exec node --stack-size=8192 --require "$(dirname "$0")/../shaders/wasm/node.js" "$(go env GOROOT)/lib/wasm/wasm_exec_node.js" "$@"
