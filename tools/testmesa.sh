#!/bin/sh
# Runs the kernels with cooperative matrices on the software GPU of a newer Mesa than
# a stable Debian has: "make test-mesa". Mesa lies in a Debian sid of its own, in the
# folder that PATCHWORK_SID names (default: out/sid), which is made the first time by
# debootstrap, from its own mirror or from DEBIAN_MIRROR. Without root or debootstrap
# nothing is tested, and a line says so.
#
#	testmesa.sh [REGEXP]    the variants whose name fits; default: coopmat
#
# All of it takes an hour or two on two cores: Mesa compiles these kernels slowly.
set -u
cd "$(dirname "$0")/.."
root=${PATCHWORK_SID:-out/sid}
variants=${1:-coopmat}

skip() {
	echo "cooperative matrices are not tested: $1"
	exit 0
}

[ "$(id -u)" = 0 ] || skip "a chroot needs root"
if [ ! -e "$root/usr/share/vulkan/icd.d/lvp_icd.json" ] && ! ls "$root"/usr/share/vulkan/icd.d/lvp_icd.*.json >/dev/null 2>&1; then
	command -v debootstrap >/dev/null || skip "debootstrap, which sets up a newer Mesa, is not installed (Debian: apt install debootstrap)"
	echo "setting up Debian sid in $root"
	mkdir -p "$root" && debootstrap --variant=minbase --include=libvulkan1,mesa-vulkan-drivers,glslc,spirv-tools \
		sid "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$root.log" 2>&1 ||
		skip "debootstrap failed, see $root.log"
fi

there=$root/opt/patchwork
mkdir -p "$there"
CGO_ENABLED=1 go test -c -o "$there/vulkan.test" ./engine/vulkan || exit 1
log=$there/test.log
# run TESTS TIMEOUT: the tests in the chroot, their output into the log
run() {
	chroot "$root" env PATCHWORK_EMULATE_ALL=1 /opt/patchwork/vulkan.test -test.v -test.timeout "$2" -test.run "$1" >"$log" 2>&1
	code=$?
	passed=$(grep -c -- '--- PASS: .*/.*coopmat' "$log")
	if [ "$code" != 0 ]; then
		grep -A 2 -- '--- FAIL: .*/.*coopmat\|^panic' "$log"
		tail -n 3 "$log"
		exit 1
	fi
}

# Mesa compiles each of these kernels for half a minute and longer.
run "TestSoftware/Kernels/./f16/$variants" 2h
grep -m 1 'vulkan_test\|enginetest.go.*llvmpipe' "$log"
if [ "$passed" = 0 ]; then
	echo "no case ran: Mesa in $root has no cooperative matrices, or no variant fits \"$variants\""
	exit 1
fi
echo "$passed cases of kernels with cooperative matrices pass"
sed -n 's/.*--- PASS: .*\/\(coopmat[^ #]*\).*/\1/p' "$log" | sort | uniq -c

run "TestWorkgroupMemory/$variants" 2h
echo "$passed cases of those that ask for more memory than the driver tells pass"
run "TestEmulated/$variants" 2h
echo "$passed variants pass without cooperative matrices, in plain GLSL with the same tiles:"
sed -n 's/.*--- PASS: TestEmulated\/\([^ ]*\).*/\1/p' "$log"
