#!/bin/sh
# Checks engine/browser in a headless Chromium with WebGPU in software: "make test-browser". Every
# variant of every kernel is compiled; programs, errors and memory are tested as on other devices.
# ARGS replaces what is run. Without Chromium it is skipped with a message.
set -eu
cd "$(dirname "$0")/.."
command -v "${CHROMIUM:=chromium}" >/dev/null || {
	echo "WebGPU of browsers is not tested: there is no $CHROMIUM (Debian: apt install chromium)"
	exit 0
}
export CHROMIUM
mkdir -p out
go build -o out/browserexec ./tools/browserexec
GOOS=js GOARCH=wasm go vet ./engine/browser ./tools/vlmtool/webmodel
GOOS=js GOARCH=wasm go test -short -timeout 30m -exec "$PWD/out/browserexec" "${@:--run=TestShaders|TestLost|TestDevice/(Programs|Errors|BeyondLimit)}" ./engine/browser
