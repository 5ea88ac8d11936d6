package cpu

import (
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/cpu"

	"patchwork/shaders/simd"
)

// cpuName is the processor's name where the system reports it.
var cpuName = sync.OnceValue(func() string {
	for _, key := range []string{"model name", "Model"} { // the latter of a Raspberry Pi, for the board
		if name := procField("/proc/cpuinfo", key); name != "" {
			return name
		}
	}
	return "CPU"
})

func procField(file, key string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func cpuFeatures() []string {
	var f []string
	for _, x := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"avx512f", cpu.X86.HasAVX512F}, {"avx512bf16", cpu.X86.HasAVX512BF16},
		{"avx512vnni", cpu.X86.HasAVX512VNNI}, {"amxbf16", simd.HasTiles()},
		{"neon", runtime.GOARCH == "arm64"}, {"dotprod", cpu.ARM64.HasASIMDDP},
	} {
		if x.has {
			f = append(f, x.name)
		}
	}
	return f
}

// OpenBLAS is the name and version of the installed library, "" where there is none. It
// is used only where there is no assembly of our own (bestMatmul).
func OpenBLAS() string {
	p, ok := blasMatmul()
	if !ok {
		return ""
	}
	return p.name
}
