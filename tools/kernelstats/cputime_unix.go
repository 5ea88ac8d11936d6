//go:build unix

package main

import (
	"syscall"
	"time"
)

// processorTime is the time that all cores have spent on this process. Unlike the time
// that passes it hardly depends on other processes.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
