//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

//lint:file-ignore U1000 unused fields keep the others at their C offsets

import (
	"unsafe"

	"github.com/ebitengine/purego"
	vk "github.com/vulkan-go/vulkan"
)

// vulkan-go copies a slice of structs, or one nested in a struct, to C memory that a
// finalizer frees, possibly while the driver still reads it; and it has only the
// functions of Vulkan 1.0. Calls with such arguments, and those of Vulkan 1.1, are made
// here directly, with structs in the layout of 64-bit C.

// proc is the address of a Vulkan function.
type proc uintptr

// call calls the function. What the arguments point to is kept alive and in place until
// it returns.
//
//go:uintptrescapes
func (p proc) call(args ...uintptr) vk.Result {
	r, _, _ := purego.SyscallN(uintptr(p), args...)
	return vk.Result(int32(r))
}

// id is a handle as an argument.
func id[H any](handle H) uintptr { return *(*uintptr)(unsafe.Pointer(&handle)) }

// instanceProcs are the functions of an instance.
type instanceProcs struct {
	createDevice         proc
	enumerateExtensions  proc
	properties2          proc
	features2            proc
	memoryProperties2    proc
	queueFamilies        proc
	getDeviceProcAddress proc
	// Of extensions; 0 where the loader lacks them.
	matrices         proc
	flexibleMatrices proc
}

func loadInstanceProcs(get proc, instance vk.Instance) instanceProcs {
	load := func(name string) proc { return lookup(get, id(instance), name) }
	return instanceProcs{
		createDevice:         load("vkCreateDevice"),
		enumerateExtensions:  load("vkEnumerateDeviceExtensionProperties"),
		properties2:          load("vkGetPhysicalDeviceProperties2"),
		features2:            load("vkGetPhysicalDeviceFeatures2"),
		memoryProperties2:    load("vkGetPhysicalDeviceMemoryProperties2"),
		queueFamilies:        load("vkGetPhysicalDeviceQueueFamilyProperties"),
		getDeviceProcAddress: load("vkGetDeviceProcAddr"),
		matrices:             load("vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"),
		flexibleMatrices:     load("vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV"),
	}
}

// deviceProcs are the functions of a device.
type deviceProcs struct {
	allocateDescriptorSets    proc
	allocateMemory            proc
	cmdCopyBuffer             proc
	cmdPipelineBarrier        proc
	createComputePipelines    proc
	createDescriptorPool      proc
	createDescriptorSetLayout proc
	createPipelineLayout      proc
	createShaderModule        proc
	deviceWaitIdle            proc
	queueSubmit               proc
	resetFences               proc
	updateDescriptorSets      proc
	waitForFences             proc
	// Of VK_KHR_pipeline_executable_properties; 0 where it is not enabled.
	executableProperties proc
	executableStatistics proc
	executableTexts      proc
}

func loadDeviceProcs(get proc, device vk.Device) deviceProcs {
	load := func(name string) proc { return lookup(get, id(device), name) }
	return deviceProcs{
		allocateDescriptorSets:    load("vkAllocateDescriptorSets"),
		allocateMemory:            load("vkAllocateMemory"),
		cmdCopyBuffer:             load("vkCmdCopyBuffer"),
		cmdPipelineBarrier:        load("vkCmdPipelineBarrier"),
		createComputePipelines:    load("vkCreateComputePipelines"),
		createDescriptorPool:      load("vkCreateDescriptorPool"),
		createDescriptorSetLayout: load("vkCreateDescriptorSetLayout"),
		createPipelineLayout:      load("vkCreatePipelineLayout"),
		createShaderModule:        load("vkCreateShaderModule"),
		deviceWaitIdle:            load("vkDeviceWaitIdle"),
		queueSubmit:               load("vkQueueSubmit"),
		resetFences:               load("vkResetFences"),
		updateDescriptorSets:      load("vkUpdateDescriptorSets"),
		waitForFences:             load("vkWaitForFences"),
		executableProperties:      load("vkGetPipelineExecutablePropertiesKHR"),
		executableStatistics:      load("vkGetPipelineExecutableStatisticsKHR"),
		executableTexts:           load("vkGetPipelineExecutableInternalRepresentationsKHR"),
	}
}

// lookup gets a function from vkGetInstanceProcAddr or vkGetDeviceProcAddr.
func lookup(get proc, owner uintptr, name string) proc {
	symbol := cString(name)
	address, _, _ := purego.SyscallN(uintptr(get), owner, uintptr(unsafe.Pointer(symbol)))
	return proc(address)
}

// cString copies a string to memory that ends with a zero byte.
func cString(s string) *byte { return unsafe.SliceData(append([]byte(s), 0)) }

// goString reads a C string in an array of fixed size.
func goString(s []byte) string {
	for i, c := range s {
		if c == 0 {
			return string(s[:i])
		}
	}
	return string(s)
}

// header is the start of every extensible struct.
type header struct {
	sType vk.StructureType
	next  unsafe.Pointer
}

// Structure types that are newer than vulkan-go's headers.
const (
	structDriverProperties       vk.StructureType = 1000196000
	structMaintenance4Properties vk.StructureType = 1000413001
	structMemoryBudgetProperties vk.StructureType = 1000237000
	structSubgroupSizeProperties vk.StructureType = 1000225000
	structRequiredSubgroupSize   vk.StructureType = 1000225001
	structMatrixProperties       vk.StructureType = 1000506001
	structFlexibleProperties     vk.StructureType = 1000593001
	structExecutableFeatures     vk.StructureType = 1000269000
	structPipelineInfo           vk.StructureType = 1000269001
	structExecutableProperties   vk.StructureType = 1000269002
	structExecutableInfo         vk.StructureType = 1000269003
	structExecutableStatistic    vk.StructureType = 1000269004
	structExecutableText         vk.StructureType = 1000269005
)

type extensionProperties struct {
	name    [256]byte
	version uint32
}

// properties2 is VkPhysicalDeviceProperties2 with its 824 bytes of core
// properties, which vulkan-go reads.
type properties2 struct {
	header
	core [824]byte
}

type idProperties struct {
	header
	deviceUUID, driverUUID [16]byte
	luid                   [8]byte
	nodeMask, luidValid    uint32
}

type driverProperties struct {
	header
	driverID    uint32
	name, info  [256]byte
	conformance [4]byte
}

// Bits of VkShaderStageFlags and of VkSubgroupFeatureFlags.
const (
	subgroupCompute  = 0x20
	subgroupShuffles = 0x10
)

type subgroupProperties struct {
	header
	size, stages, operations, quad uint32
}

// Bit of VkPipelineShaderStageCreateFlags.
const requireFullSubgroups = 2

type subgroupSizeProperties struct {
	header
	min, max, subgroups, stages uint32
}

// requiredSubgroupSize is VkPipelineShaderStageRequiredSubgroupSizeCreateInfo.
type requiredSubgroupSize struct {
	header
	size uint32
}

// matrixProperties is VkCooperativeMatrixPropertiesKHR; the numbers are of
// VkComponentTypeKHR and VkScopeKHR.
type matrixProperties struct {
	header
	m, n, k          uint32
	a, b, c, result  uint32
	saturates, scope uint32
}

// flexibleProperties is VkCooperativeMatrixFlexibleDimensionsPropertiesNV: sizes
// are multiples of m, n and k.
type flexibleProperties struct {
	header
	m, n, k          uint32
	a, b, c, result  uint32
	saturates, scope uint32
	invocations      uint32
}

type maintenance3Properties struct {
	header
	maxPerSetDescriptors    uint32
	maxMemoryAllocationSize uint64
}

type maintenance4Properties struct {
	header
	maxBufferSize uint64
}

type memoryProperties2 struct {
	header
	typeCount uint32
	types     [32]memoryType
	heapCount uint32
	heaps     [16]memoryHeap
}

type memoryType struct {
	flags vk.MemoryPropertyFlagBits
	heap  uint32
}

type memoryHeap struct {
	size  uint64
	flags uint32
}

type memoryBudgetProperties struct {
	header
	budget, usage [16]uint64
}

type queueFamilyProperties struct {
	flags                vk.QueueFlagBits
	count, timestampBits uint32
	granularity          [3]uint32
}

// features2 is VkPhysicalDeviceFeatures2.
type features2 struct {
	header
	core [55]uint32
}

type queueCreateInfo struct {
	header
	flags, family, count uint32
	priorities           *float32
}

type deviceCreateInfo struct {
	header
	flags, queueCount uint32
	queues            *queueCreateInfo
	layerCount        uint32
	layers            **byte
	extensionCount    uint32
	extensions        **byte
	features          unsafe.Pointer
}

type shaderModuleCreateInfo struct {
	header
	flags uint32
	size  uint64
	code  *byte
}

type setLayoutBinding struct {
	binding, kind, count, stages uint32
	samplers                     unsafe.Pointer
}

type setLayoutCreateInfo struct {
	header
	flags, count uint32
	bindings     *setLayoutBinding
}

type pipelineLayoutCreateInfo struct {
	header
	flags, setCount uint32
	sets            *vk.DescriptorSetLayout
	pushCount       uint32
	push            unsafe.Pointer
}

// specialization is VkSpecializationInfo.
type specialization struct {
	count   uint32
	entries *specializationEntry
	bytes   uint64
	data    unsafe.Pointer
}

type specializationEntry struct {
	constant, offset uint32
	size             uint64
}

type shaderStage struct {
	header
	flags, stage   uint32
	module         vk.ShaderModule
	entry          *byte
	specialization unsafe.Pointer
}

type computePipelineCreateInfo struct {
	header
	flags     uint32
	stage     shaderStage
	layout    vk.PipelineLayout
	base      vk.Pipeline
	baseIndex int32
}

// Bits of VkPipelineCreateFlags.
const (
	captureStatistics = 0x40
	captureTexts      = 0x80 // internal representations
)

type pipelineInfo struct {
	header
	pipeline vk.Pipeline
}

type executableProperties struct {
	header
	stages            uint32
	name, description [256]byte
	subgroupSize      uint32
}

// executableInfo is VkPipelineExecutableInfoKHR.
type executableInfo struct {
	header
	pipeline vk.Pipeline
	index    uint32
}

// executableStatistic is VkPipelineExecutableStatisticKHR; the value has the type that
// format, of VkPipelineExecutableStatisticFormatKHR, names.
type executableStatistic struct {
	header
	name, description [256]byte
	format            uint32
	value             uint64
}

// executableText is VkPipelineExecutableInternalRepresentationKHR.
type executableText struct {
	header
	name, description [256]byte
	isText            uint32
	size              uint64
	data              *byte
}

type memoryAllocateInfo struct {
	header
	size uint64
	kind uint32
}

type descriptorPoolSize struct{ kind, count uint32 }

type descriptorPoolCreateInfo struct {
	header
	flags, maxSets, sizeCount uint32
	sizes                     *descriptorPoolSize
}

type descriptorSetAllocateInfo struct {
	header
	pool    vk.DescriptorPool
	count   uint32
	layouts *vk.DescriptorSetLayout
}

type bufferRange struct {
	buffer       vk.Buffer
	offset, size uint64
}

type descriptorWrite struct {
	header
	set                           vk.DescriptorSet
	binding, element, count, kind uint32
	images                        unsafe.Pointer
	buffers                       *bufferRange
	texels                        unsafe.Pointer
}

type memoryBarrier struct {
	header
	from, to vk.AccessFlagBits
}

type bufferCopy struct{ from, to, size uint64 }

type submitInfo struct {
	header
	waitCount    uint32
	waits        unsafe.Pointer
	waitStages   unsafe.Pointer
	commandCount uint32
	commands     *vk.CommandBuffer
	signalCount  uint32
	signals      unsafe.Pointer
}
