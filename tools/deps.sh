#!/bin/sh
# Installs the packages that a Debian or Ubuntu machine lacks for PURPOSE, if permitted:
#
#   tools/deps.sh demo             for the fastest training on this machine
#   tools/deps.sh demo-audio       the same, and a speech synthesiser
#   tools/deps.sh test             the same, and a software Vulkan device
#   tools/deps.sh extra            a browser, a GLSL compiler, Open MPI and an emulator of arm64, for
#                                  tests that are skipped without them
#   tools/deps.sh --require test   fail if something is still missing
#   tools/deps.sh cgo              print 1 if Go can use a C compiler, else 0
#
# None of them is needed to build: without a C compiler vlmtool runs only on the CPU,
# without OpenBLAS it is slower.
set -eu

require=no
if [ "${1:-}" = --require ]; then
	require=yes
	shift
fi
purpose=${1:?usage: deps.sh [--require] demo|demo-audio|test|extra|cgo}

has_cgo() {
	printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | ${CC:-gcc} -x c -o /dev/null - 2>/dev/null
}

has_library() {
	{ /sbin/ldconfig -p || ldconfig -p; } 2>/dev/null | grep -qF "$1"
}

has_software_vulkan() {
	ls /usr/share/vulkan/icd.d/lvp_icd* >/dev/null 2>&1
}

# Mesa's drivers are 100 MB: install them only for a graphics card or for tests.
wants_mesa() {
	[ "$purpose" = test ] || ls /dev/dri/renderD* >/dev/null 2>&1
}

missing() {
	if [ "$purpose" = extra ]; then
		command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || echo chromium
		command -v glslc >/dev/null || echo glslc
		command -v mpirun >/dev/null || echo openmpi-bin
		[ "$(uname -m)" = aarch64 ] || command -v qemu-aarch64-static >/dev/null || echo qemu-user-static libc6-arm64-cross
		command -v aarch64-linux-gnu-objdump >/dev/null || echo binutils-aarch64-linux-gnu
		return
	fi
	has_cgo || echo gcc libc6-dev
	has_library libvulkan.so.1 || echo libvulkan1
	has_library libopenblas.so.0 || echo libopenblas0
	if [ "$purpose" = demo-audio ]; then
		command -v espeak-ng >/dev/null || echo espeak-ng
	fi
	if wants_mesa && ! has_software_vulkan; then
		echo mesa-vulkan-drivers
	fi
}

if [ "$purpose" = cgo ]; then
	if has_cgo; then echo 1; else echo 0; fi
	exit 0
fi

if ! command -v go >/dev/null; then
	echo "Go is missing: https://go.dev/doc/install" >&2
	exit 1
fi
packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if [ "$(uname -s)" != Linux ]; then # the names below are Debian's
	exit 0
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	as_root="sudo -n"
fi
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
	echo "installing $packages"
	export DEBIAN_FRONTEND=noninteractive
	install="$as_root apt-get install -y -qq --no-install-recommends $packages"
	{ $install || { $as_root apt-get update -qq && $install; }; } >/dev/null 2>&1 || true
	packages=$(missing | tr '\n' ' ')
fi
if [ -n "$packages" ]; then
	echo "not installed: $packages(apt-get install $packages)" >&2
	if [ "$purpose" = demo-audio ] && ! command -v espeak-ng >/dev/null; then
		echo "The audio demo needs espeak-ng." >&2
		exit 1
	fi
	if [ "$purpose" = extra ]; then
		echo "Continuing: the tests that need them are skipped." >&2
	else
		echo "Continuing: without a C compiler there is no Vulkan and no WebGPU, without OpenBLAS it is slower." >&2
	fi
	[ "$require" = no ]
fi
