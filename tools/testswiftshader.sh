#!/bin/sh
# Runs every kernel variant once, the small models and 20 training steps on SwiftShader, the software
# Vulkan driver that comes with Debian's chromium: "make test-swiftshader". Its subgroups have 4
# invocations, it has no 16-bit floats, and it flushes denormals to 0. Without it the tests are
# skipped with a message.
set -eu
cd "$(dirname "$0")/.."
driver=${PATCHWORK_SWIFTSHADER:-/usr/lib/chromium/vk_swiftshader_icd.json}
if [ ! -e "$driver" ]; then
	echo "SwiftShader is not tested: no $driver (Debian: apt install chromium; PATCHWORK_SWIFTSHADER names another place)"
	exit 0
fi
export VK_DRIVER_FILES="$driver" VK_ICD_FILENAMES="$driver" PATCHWORK_DEVICES=vulkan PATCHWORK_SMALLEST=1 CGO_ENABLED=1
go test -short -timeout 15m -run '^(TestSmallest|TestStaged)$' ./engine/vulkan
go test -timeout 15m -run Golden ./nn
go test -timeout 15m -run '^TestDevicesAgree$' ./vlm/train
