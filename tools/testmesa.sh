#!/bin/sh
# Runs the kernels with cooperative matrices on the software GPU of a newer Mesa than that
# of Debian stable: "make test-mesa". Mesa is in a Debian sid in the folder PATCHWORK_SID
# (default: out/sid), which debootstrap creates the first time from its default mirror or
# from DEBIAN_MIRROR. Without root or debootstrap the tests are skipped with a message.
#
#	testmesa.sh [REGEXP]    the variants whose name matches; default: coopmat
#
# It takes one to two hours on two cores, since Mesa compiles these kernels slowly.
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
# run TESTS TIMEOUT: runs tests in the chroot, with the output in the log
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

# Mesa takes at least half a minute to compile each of these kernels.
run "TestSoftware/Kernels/./f16/$variants" 2h
grep -m 1 'vulkan_test\|enginetest.go.*llvmpipe' "$log"
if [ "$passed" = 0 ]; then
	echo "no case ran: Mesa in $root has no cooperative matrices, or no variant matches \"$variants\""
	exit 1
fi
echo "$passed cases of kernels with cooperative matrices pass"
sed -n 's/.*--- PASS: .*\/\(coopmat[^ #]*\).*/\1/p' "$log" | sort | uniq -c

run "TestWorkgroupMemory/$variants" 2h
echo "$passed cases of kernels that need more workgroup memory than the driver reports pass"
run "TestEmulated/$variants" 2h
echo "$passed variants pass without cooperative matrices, in plain GLSL with the same tiles:"
sed -n 's/.*--- PASS: TestEmulated\/\([^ ]*\).*/\1/p' "$log"
