//go:build !linux

package mpi

import "runtime"

// cores is the number of processor cores that this process may use.
func cores() int { return runtime.NumCPU() }

// affinity describes them; this system does not tell.
func affinity() string { return "" }
