#!/bin/sh
# Runs vlmtool for Windows with Vulkan under Wine, on the software driver: "make test-wine". It needs
# a Debian 13 in the folder PATCHWORK_TRIXIE (default: out/trixie), which debootstrap creates the
# first time from its default mirror or from DEBIAN_MIRROR: older versions of Wine lack functions
# that Go calls. Without root, debootstrap or the cross-compiler it is skipped with a message.
#
# It lists the devices, trains 20 steps on shapes, which must have the losses of the Linux build on
# the same driver, answers a question, and runs the tests of the folder lock and every kernel variant
# once (KERNELS=no leaves those out, which take some minutes).
set -u
cd "$(dirname "$0")/.."
root=${PATCHWORK_TRIXIE:-out/trixie}
cc=x86_64-w64-mingw32-gcc

skip() {
	echo "the build for Windows is not tested: $1"
	exit 0
}
fail() {
	echo "$1" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || skip "a chroot needs root"
command -v $cc >/dev/null || skip "there is no $cc (Debian: apt install gcc-mingw-w64-x86-64)"
if [ ! -d "$root/usr/share/wine" ]; then
	if [ ! -e "$root/usr/bin/apt-get" ]; then
		command -v debootstrap >/dev/null || skip "debootstrap, which sets up Debian 13, is not installed (Debian: apt install debootstrap)"
		echo "setting up Debian 13 in $root"
		mkdir -p "$root" && debootstrap --variant=minbase trixie "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$root.log" 2>&1 ||
			skip "debootstrap failed, see $root.log"
	fi
	echo "installing Wine in $root"
	chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		wine wine64 xvfb xauth libvulkan1 mesa-vulkan-drivers >"$root.wine.log" 2>&1 || skip "Wine cannot be installed, see $root.wine.log"
fi

there=$root/opt/patchwork/wine
rm -rf "$there" && mkdir -p "$there"
windows() { CGO_ENABLED=1 GOOS=windows GOARCH=amd64 CC=$cc go "$@"; }
windows build -tags nowebgpu,nodynamic -o "$there/vlmtool.exe" ./tools/vlmtool || exit 1
windows test -c -o "$there/folderlock.test.exe" ./internal/folderlock || exit 1
windows test -c -o "$there/vulkan.test.exe" ./engine/vulkan || exit 1
CGO_ENABLED=1 go build -tags nowebgpu,nodynamic -o "$there/" ./tools/vlmtool || exit 1
go run ./tools/shapesdata --out "$there/data" >/dev/null || exit 1

lavapipe=$(ls "$root"/usr/share/vulkan/icd.d/lvp_icd*.json | head -n 1)
inside() {
	chroot "$root" env WINEPREFIX=/opt/patchwork/wineprefix WINEDEBUG=-all HOME=/root VK_DRIVER_FILES="${lavapipe#"$root"}" "$@" 2>>"$there/log"
}
wine() { inside xvfb-run -a wine "$@"; }
at=/opt/patchwork/wine
steps="--preset shapes --steps 20 --val-every 0 --device vulkan:0 --json"

wine $at/vlmtool.exe devices | grep '^vulkan:0' || fail "Wine's Vulkan has no device, see $there/log"
inside $at/vlmtool train $steps --data "$at/data/train-*.parquet" --out $at/linux >/dev/null || fail "the training on Linux failed, see $there/log"
wine $at/vlmtool.exe train $steps --data "Z:$at/data/train-*.parquet" --out Z:$at/windows >/dev/null || fail "the training under Wine failed, see $there/log"
losses() { sed 's/.*\("step":[0-9]*\).*\("loss":[^,]*\).*/\1 \2/' "$there/$1/metrics.jsonl"; }
[ "$(losses linux)" = "$(losses windows)" ] || fail "the losses of 20 steps differ: $there/linux/metrics.jsonl, $there/windows/metrics.jsonl"
echo "20 training steps have the losses of Linux; the last: $(losses windows | tail -n 1)"
cp docs/demo.png "$there/image.png"
for name in vlmtool vlmtool.exe; do
	drive=
	run=inside
	[ $name = vlmtool ] || { drive=Z: run=wine; }
	$run $at/$name infer --model $drive$at/windows --device vulkan:0 --image "$drive$at/image.png" --prompt "what shape is red?" --max-new-tokens 4 >"$there/$name.answer" || fail "$name infer failed, see $there/log"
done
cmp "$there/vlmtool.answer" "$there/vlmtool.exe.answer" || fail "the answers differ"
echo "the answer is that of Linux"
wine $at/folderlock.test.exe >/dev/null || fail "the folder lock fails under Wine"
[ "${KERNELS:-}" = no ] && exit
inside env PATCHWORK_SMALLEST=1 xvfb-run -a wine $at/vulkan.test.exe -test.short -test.run TestSmallest -test.timeout 60m | tail -n 1 | grep PASS || fail "kernels fail under Wine"
