package engine

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

// HostMemory is the machine's memory in bytes, 0 where the system does not say.
var HostMemory = sync.OnceValue(func() int64 { return meminfo("MemTotal:") })

// FreeHostMemory is what a program can still take of the machine's memory without
// swapping, in bytes, and 0 where the system does not say. A container's limit
// counts.
func FreeHostMemory() int64 {
	free := meminfo("MemAvailable:")
	limit, limited := number("/sys/fs/cgroup/memory.max")
	used, known := number("/sys/fs/cgroup/memory.current")
	if limited && known {
		free = min(free, max(1, limit-used))
	}
	return free
}

// meminfo is a line of /proc/meminfo in bytes.
func meminfo(field string) int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if size, ok := strings.CutPrefix(line, field); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(size), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// number reads a file that holds one; ok is false for "max", which is no limit.
func number(path string) (n int64, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}
