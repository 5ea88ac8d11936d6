//go:build unix

package engine

import "golang.org/x/sys/unix"

// CanMap reports whether MapMemory works on this system.
const CanMap = true

// MapMemory returns zeroed memory of the host outside Go's heap.
func MapMemory(bytes int64) ([]byte, error) {
	return unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// UnmapMemory frees what MapMemory returned.
func UnmapMemory(mapped []byte) { _ = unix.Munmap(mapped) } // it was mapped
