package engine

import "runtime/metrics"

// HostMemory is what WebAssembly's addresses of 32 bits reach.
func HostMemory() int64 { return 4 << 30 }

// FreeHostMemory is what the program's heap does not use of it.
func FreeHostMemory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	used := s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64()
	return HostMemory() - int64(used)
}
