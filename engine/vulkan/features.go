//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"slices"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"
)

// featureStruct is one of Vulkan's extensible structs of booleans, with its members in
// order. What a device supports of it is enabled when it is opened.
type featureStruct struct {
	extension string
	sType     vk.StructureType
	members   []string
}

// featureStructs are the features that shaders may use.
// cooperativeMatrixRobustBufferAccess is not enabled (""): it requires
// robustBufferAccess, which is slow.
var featureStructs = []featureStruct{
	{"VK_KHR_16bit_storage", 1000083000, []string{"storageBuffer16BitAccess", "uniformAndStorageBuffer16BitAccess", "", ""}},
	{"VK_KHR_8bit_storage", 1000177000, []string{"storageBuffer8BitAccess", "uniformAndStorageBuffer8BitAccess", ""}},
	{"VK_KHR_shader_float16_int8", 1000082000, []string{"shaderFloat16", "shaderInt8"}},
	{"VK_KHR_vulkan_memory_model", 1000211000, []string{"vulkanMemoryModel", "vulkanMemoryModelDeviceScope", ""}},
	{"VK_EXT_subgroup_size_control", 1000225002, []string{"subgroupSizeControl", "computeFullSubgroups"}},
	{"VK_KHR_shader_integer_dot_product", 1000280000, []string{"shaderIntegerDotProduct"}},
	{"VK_KHR_maintenance4", 1000413000, []string{"maintenance4"}},
	{"VK_KHR_buffer_device_address", 1000257000, []string{"bufferDeviceAddress", "", ""}},
	{"VK_KHR_timeline_semaphore", 1000207000, []string{"timelineSemaphore"}},
	{"VK_KHR_shader_bfloat16", 1000141000, []string{"shaderBFloat16Type", "shaderBFloat16DotProduct", "shaderBFloat16CooperativeMatrix"}},
	{"VK_KHR_cooperative_matrix", 1000506000, []string{"cooperativeMatrix", ""}},
	{"VK_NV_cooperative_matrix2", 1000593000, []string{
		"cooperativeMatrixWorkgroupScope", "cooperativeMatrixFlexibleDimensions", "cooperativeMatrixReductions",
		"cooperativeMatrixConversions", "cooperativeMatrixPerElementOperations", "cooperativeMatrixTensorAddressing",
		"cooperativeMatrixBlockLoads",
	}},
}

// reportedExtensions are listed in Info, but not enabled.
var reportedExtensions = []string{"VK_EXT_memory_budget", "VK_NV_cuda_kernel_launch", "VK_KHR_shader_float_controls"}

// Members of VkPhysicalDeviceFeatures that are enabled where they exist.
var coreFeatures = map[int]string{40: "shaderInt64", 41: "shaderInt16"}

// maxFeatureMembers is the length of the longest struct of the table.
const maxFeatureMembers = 8

type featureValues struct {
	header
	on [maxFeatureMembers]uint32
}

// features are what a device supports: names for Info, extensions and the chain of
// structs for vkCreateDevice.
type features struct {
	names      []string
	extensions []string
	chain      *features2
}

// queryFeatures queries everything in the tables.
func (i *instance) queryFeatures(device vk.PhysicalDevice) features {
	available := i.extensions(device)
	f := features{chain: &features2{header: header{sType: vk.StructureTypePhysicalDeviceFeatures2}}}
	var asked []featureStruct
	var values []*featureValues
	for _, s := range featureStructs {
		if !slices.Contains(available, s.extension) {
			continue
		}
		v := &featureValues{header: header{s.sType, f.chain.next}}
		f.chain.next = unsafe.Pointer(v)
		asked, values = append(asked, s), append(values, v)
		f.extensions = append(f.extensions, s.extension)
	}
	i.procs.features2.call(id(device), uintptr(unsafe.Pointer(f.chain)))
	f.keepCore()
	for n, s := range asked {
		f.names = append(f.names, s.extension)
		f.names = append(f.names, values[n].keep(s.members)...)
	}
	for _, name := range reportedExtensions {
		if slices.Contains(available, name) {
			f.names = append(f.names, name)
		}
	}
	return f
}

// keepCore turns every core feature off but those in coreFeatures.
func (f *features) keepCore() {
	for m := range f.chain.core {
		name := coreFeatures[m]
		if name == "" {
			f.chain.core[m] = 0
		} else if f.chain.core[m] != 0 {
			f.names = append(f.names, name)
		}
	}
}

// keep turns the nameless members off and returns the names of those that are on.
func (v *featureValues) keep(members []string) (names []string) {
	for m, name := range members {
		if name == "" {
			v.on[m] = 0
		} else if v.on[m] != 0 {
			names = append(names, name)
		}
	}
	return names
}

// extensions are the names of the device's extensions.
func (i *instance) extensions(device vk.PhysicalDevice) []string {
	var n uint32
	i.procs.enumerateExtensions.call(id(device), 0, uintptr(unsafe.Pointer(&n)), 0)
	properties := make([]extensionProperties, max(n, 1))
	i.procs.enumerateExtensions.call(id(device), 0, uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&properties[0])))
	names := make([]string, n)
	for e := range names {
		names[e] = goString(properties[e].name[:])
	}
	return names
}
