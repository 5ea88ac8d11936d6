package engine

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// HostMemory is the machine's memory in bytes, 0 where the system does not say.
var HostMemory = sync.OnceValue(func() int64 { return 1024 * field("/proc/meminfo", "MemTotal:") })

// FreeHostMemory is what a program can still take of the machine's memory without
// swapping, in bytes, and 0 where the system does not say. A container's limit
// counts; files that are kept in memory can be let go.
func FreeHostMemory() int64 {
	const group = "/sys/fs/cgroup/memory."
	free := 1024 * field("/proc/meminfo", "MemAvailable:")
	if limit := field(group+"max", ""); limit > 0 {
		used := field(group+"current", "") - field(group+"stat", "inactive_file ") - field(group+"stat", "active_file ")
		free = min(free, max(1, limit-used))
	}
	return free
}

// field is the number behind a name in a file of the system's; 0 where there is none.
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
