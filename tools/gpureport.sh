#!/bin/sh
# Runs on a machine with a GPU, from the bundle of `make gpu-report`: what devices
# there are, whether the kernels are right on the GPU, and how fast it is. Needs
# glibc, the GPU's Vulkan driver and libvulkan.so.1. Writes the folder report/ and
# fails where a part failed; the other parts run all the same.
set -u
cd "$(dirname "$0")"
rm -rf report && mkdir report
failed=0

part() { # NAME COMMAND…
	name=$1
	shift
	echo "$name"
	if ! "$@" >"report/$name" 2>"report/$name.err"; then
		echo "  failed: $(tail -n 1 "report/$name.err" "report/$name" | tail -n 1)"
		failed=1
	fi
}

part devices.jsonl ./vlmtool devices --json
part conformance.txt env REQUIRE_GPU=1 ./vulkan.test -test.v
part bench-kernels.jsonl ./vlmtool bench kernels --device vulkan --json
part bench-train.json ./vlmtool bench train --device vulkan --json
part bench-train-cpu.json ./vlmtool bench train --device cpu --json
exit $failed
