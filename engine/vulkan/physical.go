//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

// Built reports whether the backend is in this binary.
const Built = true

// List describes every Vulkan device, including software devices. The error is the reason
// why there is none; it matches engine.ErrNoDevice.
func List() ([]engine.Info, error) {
	inst, err := newInstance()
	if err != nil {
		return nil, err
	}
	defer inst.close()
	devices, err := inst.physicalDevices()
	if err != nil {
		return nil, err
	}
	if len(devices) == 0 {
		return nil, fmt.Errorf("no Vulkan driver finds a device: %w", engine.ErrNoDevice)
	}
	infos := make([]engine.Info, len(devices))
	for n, d := range devices {
		infos[n] = inst.describe(n, d).info
	}
	return infos, nil
}

// physical is a physical device.
type physical struct {
	handle   vk.PhysicalDevice
	info     engine.Info
	features features
	limits   limits
	memory   memoryProperties2
	heap     uint32 // of device memory
	budget   bool   // the driver reports how much of a heap is free
	uuid     [16]byte
	family   uint32 // of the compute queue, noQueue where there is none
	// timestamps is the number of valid bits of a time stamp, 0 without time stamps.
	timestamps uint32
	api        vk.Version
}

// limits that are checked when programs are compiled.
type limits struct {
	storageAlignment int64 // of a storage binding's offset
	uniformAlignment int64 // of a uniform binding's offset
	groups           [3]uint32
	bufferBytes      int64   // of a buffer
	storageBuffers   int     // of a dispatch
	timestampPeriod  float64 // nanoseconds
}

const noQueue = ^uint32(0)

// describe reads a device's properties.
func (i *instance) describe(n int, device vk.PhysicalDevice) *physical {
	p := &physical{handle: device, features: i.queryFeatures(device)}
	var core vk.PhysicalDeviceProperties
	vk.GetPhysicalDeviceProperties(device, &core)
	defer core.Free()
	core.Deref()
	core.Limits.Deref()
	p.api = vk.Version(core.ApiVersion)
	p.limits = limits{
		storageAlignment: int64(core.Limits.MinStorageBufferOffsetAlignment),
		uniformAlignment: int64(core.Limits.MinUniformBufferOffsetAlignment),
		groups:           core.Limits.MaxComputeWorkGroupCount,
		bufferBytes:      math.MaxInt64,
		storageBuffers:   int(min(core.Limits.MaxPerStageDescriptorStorageBuffers, core.Limits.MaxDescriptorSetStorageBuffers, 1<<30)),
		timestampPeriod:  float64(core.Limits.TimestampPeriod),
	}
	p.readMemory(i)
	p.readQueue(i)
	p.info = engine.Info{
		Device:   "vulkan:" + strconv.Itoa(n),
		Name:     goString(core.DeviceName[:]),
		API:      p.api.String(),
		Memory:   int64(p.memory.heaps[p.heap].size),
		Features: p.features.names,
		Limits: engine.Limits{
			MaxBindingBytes:    int64(core.Limits.MaxStorageBufferRange),
			MaxAllocationBytes: int64(p.memory.heaps[p.heap].size),
			MaxWorkgroupMemory: int64(core.Limits.MaxComputeSharedMemorySize),
			MaxInvocations:     int(core.Limits.MaxComputeWorkGroupInvocations),
		},
	}
	p.info.Kind, p.info.Class = kind(core.DeviceType)
	if p.info.Memory == 0 {
		p.info.Kind = engine.Null
	}
	if p.timestamps > 0 {
		p.info.Features = append(p.info.Features, "timestampQueries")
	}
	p.readProperties2(i)
	p.info.Matrices = i.readMatrices(p)
	return p
}

func kind(t vk.PhysicalDeviceType) (string, shaders.Class) {
	switch t {
	case vk.PhysicalDeviceTypeDiscreteGpu:
		return "discrete", shaders.Discrete
	case vk.PhysicalDeviceTypeIntegratedGpu:
		return "integrated", shaders.Integrated
	case vk.PhysicalDeviceTypeVirtualGpu:
		return "virtual", shaders.Discrete
	case vk.PhysicalDeviceTypeCpu:
		return "software", shaders.Software
	}
	return "other", shaders.Integrated
}

// readProperties2 reads the properties that Vulkan 1.0 does not report. A driver ignores
// structs that it does not support.
func (p *physical) readProperties2(i *instance) {
	maintenance4 := &maintenance4Properties{header: header{structMaintenance4Properties, nil}}
	maintenance3 := &maintenance3Properties{header: header{vk.StructureTypePhysicalDeviceMaintenance3Properties, unsafe.Pointer(maintenance4)}}
	subgroup := &subgroupProperties{header: header{vk.StructureTypePhysicalDeviceSubgroupProperties, unsafe.Pointer(maintenance3)}}
	driver := &driverProperties{header: header{structDriverProperties, unsafe.Pointer(subgroup)}}
	ids := &idProperties{header: header{vk.StructureTypePhysicalDeviceIdProperties, unsafe.Pointer(driver)}}
	sizes := &subgroupSizeProperties{header: header{structSubgroupSizeProperties, unsafe.Pointer(ids)}}
	all := &properties2{header: header{vk.StructureTypePhysicalDeviceProperties2, unsafe.Pointer(sizes)}}
	i.procs.properties2.call(id(p.handle), uintptr(unsafe.Pointer(all)))

	p.uuid = ids.deviceUUID
	p.info.Driver = goString(driver.name[:]) + " " + goString(driver.info[:])
	p.info.Limits.SubgroupSize = int(subgroup.size)
	if subgroup.stages&subgroupCompute != 0 && subgroup.operations&subgroupShuffles != 0 {
		p.info.Features = append(p.info.Features, engine.SubgroupShuffle)
	}
	p.info.Limits.MinSubgroupSize, p.info.Limits.MaxSubgroupSize = int(sizes.min), int(sizes.max)
	if sizes.stages&subgroupCompute != 0 && slices.Contains(p.features.names, "subgroupSizeControl") && slices.Contains(p.features.names, "computeFullSubgroups") {
		p.info.Features = append(p.info.Features, shaders.FeatureSubgroupSize)
	}
	if maintenance4.maxBufferSize > 0 {
		p.limits.bufferBytes = signed(maintenance4.maxBufferSize)
	}
	l := &p.info.Limits
	heap := l.MaxAllocationBytes
	if maintenance3.maxMemoryAllocationSize > 0 {
		l.MaxAllocationBytes = signed(maintenance3.maxMemoryAllocationSize)
	}
	l.MaxBufferBytes = min(heap, p.limits.bufferBytes)
	// NVIDIA's driver allocates more at once than it reports. For others that is unknown:
	// there a buffer is limited to what is reported.
	if driver.driverID != driverNVIDIA {
		l.MaxBufferBytes = min(l.MaxBufferBytes, l.MaxAllocationBytes)
	}
}

// driverNVIDIA is VK_DRIVER_ID_NVIDIA_PROPRIETARY.
const driverNVIDIA = 4

// signed converts a driver's size, which may be "no limit", to a signed one.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// readMemory finds the heap of device memory.
func (p *physical) readMemory(i *instance) {
	p.budget = slices.Contains(p.features.names, "VK_EXT_memory_budget")
	p.memory, _ = i.readHeaps(p)
	kind, ok := p.memoryKind(^uint32(0), deviceMemory)
	if ok {
		p.heap = p.memory.types[kind].heap
	}
}

// readHeaps returns the memory types, and for every heap how many bytes of it
// this process may still allocate.
func (i *instance) readHeaps(p *physical) (memoryProperties2, [16]uint64) {
	budget := &memoryBudgetProperties{header: header{structMemoryBudgetProperties, nil}}
	memory := &memoryProperties2{header: header{sType: vk.StructureTypePhysicalDeviceMemoryProperties2}}
	if p.budget {
		memory.next = unsafe.Pointer(budget)
	}
	i.procs.memoryProperties2.call(id(p.handle), uintptr(unsafe.Pointer(memory)))
	var free [16]uint64
	for h := range memory.heapCount {
		free[h] = memory.heaps[h].size
		if p.budget && budget.budget[h] > 0 {
			free[h] = budget.budget[h] - min(budget.usage[h], budget.budget[h])
		}
	}
	memory.next = nil
	return *memory, free
}

// readQueue finds a queue family with compute, preferably without graphics, so that the
// desktop does not wait for it.
func (p *physical) readQueue(i *instance) {
	var families [16]queueFamilyProperties
	n := uint32(len(families))
	i.procs.queueFamilies.call(id(p.handle), uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&families)))
	p.family = noQueue
	for f, q := range families[:n] {
		if q.flags&vk.QueueComputeBit == 0 {
			continue
		}
		alone := q.flags&vk.QueueGraphicsBit == 0
		if p.family == noQueue || alone {
			p.family, p.timestamps = uint32(f), q.timestampBits
		}
		if alone {
			return
		}
	}
}
