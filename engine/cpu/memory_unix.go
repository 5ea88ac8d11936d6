//go:build unix

package cpu

import "golang.org/x/sys/unix"

// canMap says that the system gives memory outside Go's heap.
const canMap = true

func mapMemory(bytes int64) ([]byte, error) {
	return unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func unmapMemory(mapped []byte) { _ = unix.Munmap(mapped) } // it was mapped by mapMemory
