#!/bin/sh
# Writes docs/kernel-statistics.md: what the open compilers of AMD's and NVIDIA's GPUs make
# of the kernels, "make kernelstats". No GPU is needed: RADV (AMD) compiles for the chip
# that RADV_FORCE_FAMILY names. It is that of a Debian 13 in the folder PATCHWORK_TRIXIE
# (default: out/trixie), which debootstrap creates the first time from its default mirror or
# from DEBIAN_MIRROR; Mesa 26 no longer does this.
#
# PATCHWORK_NVK=DIR adds NVIDIA's chips: a folder in that Debian where Mesa's NVK was
# installed with its shim, as "meson setup -Dprefix=/opt/nvk -Dvulkan-drivers=nouveau
# -Dgallium-drivers= -Dtools=drm-shim" builds it from Debian's source package of Mesa.
#
#	kernelstats.sh             the page, and the tables in tools/kernelstats/testdata
#	kernelstats.sh ARGUMENTS   run kernelstats there for CHIP (default: navi31)
set -u
cd "$(dirname "$0")/.."
root=${PATCHWORK_TRIXIE:-out/trixie}
tables=tools/kernelstats/testdata

fail() {
	echo "kernel statistics are not made: $1" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "a chroot needs root"
if [ ! -e "$root/usr/share/vulkan/icd.d/radeon_icd.json" ] && ! ls "$root"/usr/share/vulkan/icd.d/radeon_icd.*.json >/dev/null 2>&1; then
	command -v debootstrap >/dev/null || fail "debootstrap, which sets up Debian 13, is not installed (Debian: apt install debootstrap)"
	echo "setting up Debian 13 in $root"
	mkdir -p "$root" && debootstrap --variant=minbase --include=libvulkan1,mesa-vulkan-drivers \
		trixie "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$root.log" 2>&1 ||
		fail "debootstrap failed, see $root.log"
fi
there=$root/opt/patchwork
mkdir -p "$there"
CGO_ENABLED=1 go build -tags nowebgpu,nodynamic -o "$there/kernelstats" ./tools/kernelstats || exit 1
log=$there/kernelstats.log

# within FILE: the path of a file of the Debian as programs in it have it
within() { echo "${1#"$root"}"; }

# driver NAME: the description of a Mesa driver
driver() { within "$(ls "$root"/usr/share/vulkan/icd.d/"$1"*.json | head -n 1)"; }

# stats CHIP ARGUMENTS…: runs kernelstats for AMD's navi31, navi21, …, for NVIDIA's turing or
# ampere, or for lavapipe
stats() {
	chip=$1
	shift
	case $chip in
	turing | ampere)
		[ -n "${PATCHWORK_NVK:-}" ] || fail "PATCHWORK_NVK does not name the folder with NVK"
		set -- --chip "$chip" "$@"
		case $chip in
		turing) chipset=0x164 ;; # TU104
		ampere) chipset=0x174 ;; # GA104
		esac
		icd=$(find "$PATCHWORK_NVK" -name 'nouveau_icd*.json' | head -n 1)
		shim=$(find "$PATCHWORK_NVK" -name 'libnouveau_noop_drm_shim.so' | head -n 1)
		[ -n "$icd" ] && [ -n "$shim" ] || fail "PATCHWORK_NVK=$PATCHWORK_NVK has no nouveau_icd*.json or no libnouveau_noop_drm_shim.so"
		chroot "$root" env LD_PRELOAD="$(within "$shim")" NOUVEAU_CHIPSET=$chipset NVK_I_WANT_A_BROKEN_VULKAN_DRIVER=1 \
			VK_DRIVER_FILES="$(within "$icd")" /opt/patchwork/kernelstats "$@"
		;;
	lavapipe)
		chroot "$root" env VK_DRIVER_FILES="$(driver lvp_icd)" /opt/patchwork/kernelstats "$@"
		;;
	*)
		chroot "$root" env RADV_FORCE_FAMILY="$chip" VK_DRIVER_FILES="$(driver radeon_icd)" /opt/patchwork/kernelstats "$@"
		;;
	esac
}

if [ $# -gt 0 ]; then
	stats "${CHIP:-navi31}" "$@"
	exit
fi

chips="navi31 navi21 vega10"
if [ -n "${PATCHWORK_NVK:-}" ]; then
	chips="$chips ampere" # what NAK makes for Turing differs only in delays
fi
undeclared=0
files=
mkdir -p "$tables"
for chip in $chips; do
	if ! stats "$chip" --check --table "/opt/patchwork/$chip.json" >/dev/null 2>"$log"; then
		grep -v 'pci bus\|DRM_IOCTL' "$log"
		[ -e "$there/$chip.json" ] || exit 1
		undeclared=1
	fi
	mv "$there/$chip.json" "$tables/" || exit 1
	files="$files $tables/$chip.json"
done

# measure TITLE ARGUMENTS…: adds a table of times, for the chips named in $timed
measure() {
	printf '%s' "$1" >>"$there/times.md"
	shift
	for chip in $timed; do
		stats "$chip" "$@" --markdown >>"$there/times.md" 2>"$log" || { cat "$log"; exit 1; }
	done
}
rm -f "$there/times.md"
timed="navi31 $(echo "$chips" | grep -o 'ampere' || true)"
measure '| compiler for | program | pipelines | without a cache | processor time | with it |
|---|---|--:|--:|--:|--:|
' --compile-time --presets smollm2-135m,qwen3-1.7b --dtypes f32,f16
timed=lavapipe
measure '
lavapipe compiles a kernel when it first runs: how much more a program takes the first time than the next, with empty caches and in the next process. The memory that it touches for the first time is in both.

| compiler for | program | without a cache | processor time | with it |
|---|---|--:|--:|--:|
' --first-run --presets shapes --dtypes f32
measure '' --first-run --presets smollm2-135m --work prefill,decode --dtypes f32

mv "$there/times.md" "$tables/" || exit 1
page=$there/page.md
"$there/kernelstats" --page --before "$tables/before" --times "$tables/times.md" $files >"$page" || exit 1
cp "$page" docs/kernel-statistics.md
echo "docs/kernel-statistics.md and $tables are written"
exit $undeclared
