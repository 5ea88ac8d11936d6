package mpi

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// cores is the number of processor cores that this process may use.
func cores() int { return runtime.NumCPU() }

// affinity describes them, the same for processes that share them.
func affinity() string {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return ""
	}
	last := len(set) - 1
	for last > 0 && set[last] == 0 {
		last--
	}
	return fmt.Sprintf("%x", set[:last+1])
}
