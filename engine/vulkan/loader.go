//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
)

// loader is the Vulkan library of the system, opened once.
var loader = sync.OnceValues(func() (proc, error) {
	get, err := loaderFunction("vkGetInstanceProcAddr")
	if err != nil {
		return 0, err
	}
	vk.SetGetInstanceProcAddr(*(*unsafe.Pointer)(unsafe.Pointer(&get)))
	if err := vk.Init(); err != nil {
		return 0, fmt.Errorf("%s: %w", library, err)
	}
	return proc(get), nil
})

// instance is a connection to the drivers.
type instance struct {
	handle vk.Instance
	procs  instanceProcs
}

func newInstance() (*instance, error) {
	get, err := loader()
	if err != nil {
		return nil, err
	}
	app := vk.ApplicationInfo{
		SType:            vk.StructureTypeApplicationInfo,
		PApplicationName: "patchwork\x00",
		PEngineName:      "patchwork\x00",
		ApiVersion:       vk.MakeVersion(1, 3, 0),
	}
	defer app.Free()
	info := vk.InstanceCreateInfo{SType: vk.StructureTypeInstanceCreateInfo, PApplicationInfo: &app}
	defer info.Free()
	var handle vk.Instance
	switch r := vk.CreateInstance(&info, nil, &handle); r {
	case vk.Success:
	case vk.ErrorIncompatibleDriver:
		return nil, fmt.Errorf("no Vulkan driver is installed (%s): %w", installDriver, engine.ErrNoDevice)
	default:
		return nil, check("vkCreateInstance", r)
	}
	if err := vk.InitInstance(handle); err != nil {
		return nil, err
	}
	return &instance{handle, loadInstanceProcs(get, handle)}, nil
}

func (i *instance) close() { vk.DestroyInstance(i.handle, nil) }

// physicalDevices are the devices in the loader's order, by which "vulkan:N" is numbered.
func (i *instance) physicalDevices() ([]vk.PhysicalDevice, error) {
	var n uint32
	if err := check("vkEnumeratePhysicalDevices", vk.EnumeratePhysicalDevices(i.handle, &n, nil)); err != nil || n == 0 {
		return nil, err
	}
	devices := make([]vk.PhysicalDevice, n)
	if err := check("vkEnumeratePhysicalDevices", vk.EnumeratePhysicalDevices(i.handle, &n, devices)); err != nil {
		return nil, err
	}
	return devices[:n], nil
}

// check converts a result to an error with the name of the call.
func check(call string, r vk.Result) error {
	switch r {
	case vk.Success:
		return nil
	case vk.ErrorDeviceLost:
		return fmt.Errorf("%s: %w", call, engine.ErrDeviceLost)
	case vk.ErrorOutOfHostMemory, vk.ErrorOutOfDeviceMemory, vk.ErrorOutOfPoolMemory:
		return fmt.Errorf("%s: %w", call, &engine.OutOfMemoryError{})
	case vk.ErrorFeatureNotPresent, vk.ErrorExtensionNotPresent, vk.ErrorIncompatibleDriver:
		return fmt.Errorf("%s: %w", call, engine.ErrUnsupported)
	}
	return fmt.Errorf("%s: Vulkan error %d", call, r)
}
