#!/bin/sh
# Runs every kernel variant once, training steps and answers under Khronos's validation layer with
# synchronisation checks, and with its checks on the device where that allows them:
# "make test-validation". Whatever the layer reports is a failure.
set -u
cd "$(dirname "$0")/.."
layer=VK_LAYER_KHRONOS_validation
if ! ls /usr/share/vulkan/explicit_layer.d/ 2>/dev/null | grep -q VkLayer_khronos_validation; then
	echo "nothing is validated: the layer is not installed (Debian: apt install vulkan-validationlayers)"
	exit 0
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# run CHECKS PACKAGE TESTS: under the layer, with further checks
run() {
	echo "$2 $3, $1"
	CGO_ENABLED=1 go test -c -o "$out/test" "$2" || exit 1
	if ! (cd "$2" && env VK_INSTANCE_LAYERS=$layer VK_LAYER_ENABLES="$1" PATCHWORK_DEVICES=vulkan PATCHWORK_SMALLEST=1 \
		"$out/test" -test.short -test.v -test.timeout 60m -test.run "$3" >"$out/log" 2>&1); then
		grep -m 5 -A 3 -- '--- FAIL\|^panic' "$out/log"
		exit 1
	fi
	if grep -q 'Validation \(Error\|Warning\|Performance\)\|SYNC-HAZARD' "$out/log"; then
		grep -m 20 -A 2 'Validation \(Error\|Warning\|Performance\)\|SYNC-HAZARD' "$out/log"
		exit 1
	fi
	if ! grep -q -- '^--- PASS' "$out/log"; then
		echo "no test ran"
		exit 1
	fi
}
synchronisation=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
assisted=VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT
for checks in $synchronisation $assisted; do
	run $checks ./engine/vulkan '^(TestSmallest|TestStaged|TestClose)$'
	run $checks ./vlm/train '^TestDevicesAgree$'
	run $checks ./vlm/generate '^TestPrefill$'
done
echo "the validation layer reports nothing"
