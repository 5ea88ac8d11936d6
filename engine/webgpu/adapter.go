//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/shaders"
)

// Built reports whether the backend is in this binary.
const Built = true

// backends are the APIs below WebGPU that are used: one per system, so that no device is
// listed twice.
func backends() wgpu.InstanceBackend {
	switch runtime.GOOS {
	case "darwin":
		return wgpu.InstanceBackend_Metal
	case "windows":
		return wgpu.InstanceBackend_DX12
	}
	return wgpu.InstanceBackend_Vulkan
}

func newInstance() *wgpu.Instance {
	// Mesa's device select layer logs errors to stderr without a desktop.
	if os.Getenv("XDG_RUNTIME_DIR") == "" {
		os.Setenv("NODEVICE_SELECT", "1")
	}
	wgpu.SetLogLevel(wgpu.LogLevel_Off) // errors are returned
	return wgpu.CreateInstance(&wgpu.InstanceDescriptor{Backends: backends()})
}

var errNoAdapter = fmt.Errorf("WebGPU finds no adapter: there is no GPU with a driver, nor one in software (on Debian: apt install mesa-vulkan-drivers): %w", engine.ErrNoDevice)

// List describes every WebGPU adapter, including software adapters. The error is the
// reason why there is none; it matches engine.ErrNoDevice.
func List() ([]engine.Info, error) {
	instance := newInstance()
	defer instance.Release()
	adapters := instance.EnumerateAdapters(&wgpu.InstanceEnumerateAdapterOptons{Backends: backends()})
	if len(adapters) == 0 {
		return nil, errNoAdapter
	}
	infos := make([]engine.Info, len(adapters))
	for i, a := range adapters {
		infos[i] = describe(i, a)
		a.Release()
	}
	return infos, nil
}

var kinds = map[wgpu.AdapterType]struct {
	name  string
	class shaders.Class
}{
	wgpu.AdapterType_DiscreteGPU:   {"discrete", shaders.Discrete},
	wgpu.AdapterType_IntegratedGPU: {"integrated", shaders.Integrated},
	wgpu.AdapterType_CPU:           {"software", shaders.Software},
	wgpu.AdapterType_Unknown:       {"other", shaders.Integrated},
}

func describe(n int, a *wgpu.Adapter) engine.Info {
	p, limits := a.GetProperties(), a.GetLimits().Limits
	info := engine.Info{
		Device: fmt.Sprintf("webgpu:%d", n), Name: p.Name, Kind: kinds[p.AdapterType].name, Class: kinds[p.AdapterType].class,
		Driver: strings.TrimSpace("wgpu-native 0.17 " + p.DriverDescription), API: p.BackendType.String(),
		Features: []string{},
		Limits: engine.Limits{
			MaxBindingBytes:    int64(limits.MaxStorageBufferBindingSize),
			MaxBufferBytes:     int64(min(limits.MaxBufferSize, 1<<62)),
			MaxAllocationBytes: int64(min(limits.MaxBufferSize, 1<<62)),
			MaxWorkgroupMemory: int64(limits.MaxComputeWorkgroupStorageSize),
			MaxInvocations:     int(limits.MaxComputeInvocationsPerWorkgroup),
		},
	}
	// WebGPU does not report the size of memory. A software adapter has the machine's.
	if info.Kind == "software" || info.Kind == "integrated" {
		info.Memory = engine.HostMemory()
	}
	if a.HasFeature(wgpu.FeatureName_TimestampQuery) {
		info.Features = append(info.Features, "timestamp-query")
	}
	return info
}
