//go:build !linux

package simd

// allowTiles is false: only on Linux is it known how to ask for the registers of AMX.
func allowTiles() bool { return false }
