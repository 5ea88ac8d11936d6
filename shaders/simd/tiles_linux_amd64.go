package simd

import "golang.org/x/sys/unix"

// allowTiles asks Linux for the registers of AMX, which a process may use only after that
// (Documentation/arch/x86/xstate.rst in Linux's source).
func allowTiles() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := unix.Syscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
