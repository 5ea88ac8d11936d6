//go:build !wasm

package engine

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// HostMemory is the machine's memory in bytes, 0 where the system does not report it.
var HostMemory = sync.OnceValue(func() int64 { return 1024 * field("/proc/meminfo", "MemTotal:") })

// FreeHostMemory is the memory in bytes that a program can still use without swapping, 0
// where the system does not report it. It respects a container's limit and counts the
// page cache as free.
func FreeHostMemory() int64 {
	const group = "/sys/fs/cgroup/memory."
	free := 1024 * field("/proc/meminfo", "MemAvailable:")
	if limit := field(group+"max", ""); limit > 0 {
		used := field(group+"current", "") - field(group+"stat", "inactive_file ") - field(group+"stat", "active_file ")
		free = min(free, max(1, limit-used))
	}
	return free
}

// field is the number after a name in a file under /proc or /sys; 0 where there is none.
func field(path, name string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // "max" is no limit
			return n
		}
	}
	return 0
}
