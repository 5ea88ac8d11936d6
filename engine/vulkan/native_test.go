//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"testing"
	"unsafe"
)

// TestLayout compares the sizes of the structs with those of 64-bit C.
func TestLayout(t *testing.T) {
	for _, s := range []struct {
		name      string
		got, want uintptr
	}{
		{"VkExtensionProperties", unsafe.Sizeof(extensionProperties{}), 260},
		{"VkPhysicalDeviceProperties2", unsafe.Sizeof(properties2{}), 840},
		{"VkPhysicalDeviceIDProperties", unsafe.Sizeof(idProperties{}), 64},
		{"VkPhysicalDeviceDriverProperties", unsafe.Sizeof(driverProperties{}), 536},
		{"VkPhysicalDeviceSubgroupProperties", unsafe.Sizeof(subgroupProperties{}), 32},
		{"VkPhysicalDeviceSubgroupSizeControlProperties", unsafe.Sizeof(subgroupSizeProperties{}), 32},
		{"VkPipelineShaderStageRequiredSubgroupSizeCreateInfo", unsafe.Sizeof(requiredSubgroupSize{}), 24},
		{"VkCooperativeMatrixPropertiesKHR", unsafe.Sizeof(matrixProperties{}), 56},
		{"VkCooperativeMatrixFlexibleDimensionsPropertiesNV", unsafe.Sizeof(flexibleProperties{}), 56},
		{"VkSpecializationInfo", unsafe.Sizeof(specialization{}), 32},
		{"VkSpecializationMapEntry", unsafe.Sizeof(specializationEntry{}), 16},
		{"VkPhysicalDeviceMaintenance3Properties", unsafe.Sizeof(maintenance3Properties{}), 32},
		{"VkPhysicalDeviceMaintenance4Properties", unsafe.Sizeof(maintenance4Properties{}), 24},
		{"VkPhysicalDeviceMemoryProperties2", unsafe.Sizeof(memoryProperties2{}), 536},
		{"VkPhysicalDeviceMemoryBudgetPropertiesEXT", unsafe.Sizeof(memoryBudgetProperties{}), 272},
		{"VkPhysicalDeviceFeatures2", unsafe.Sizeof(features2{}), 240},
		{"VkQueueFamilyProperties", unsafe.Sizeof(queueFamilyProperties{}), 24},
		{"VkDeviceQueueCreateInfo", unsafe.Sizeof(queueCreateInfo{}), 40},
		{"VkDeviceCreateInfo", unsafe.Sizeof(deviceCreateInfo{}), 72},
		{"VkShaderModuleCreateInfo", unsafe.Sizeof(shaderModuleCreateInfo{}), 40},
		{"VkDescriptorSetLayoutBinding", unsafe.Sizeof(setLayoutBinding{}), 24},
		{"VkDescriptorSetLayoutCreateInfo", unsafe.Sizeof(setLayoutCreateInfo{}), 32},
		{"VkPipelineLayoutCreateInfo", unsafe.Sizeof(pipelineLayoutCreateInfo{}), 48},
		{"VkPipelineShaderStageCreateInfo", unsafe.Sizeof(shaderStage{}), 48},
		{"VkComputePipelineCreateInfo", unsafe.Sizeof(computePipelineCreateInfo{}), 96},
		{"VkPipelineInfoKHR", unsafe.Sizeof(pipelineInfo{}), 24},
		{"VkPipelineExecutablePropertiesKHR", unsafe.Sizeof(executableProperties{}), 536},
		{"VkPipelineExecutableInfoKHR", unsafe.Sizeof(executableInfo{}), 32},
		{"VkPipelineExecutableStatisticKHR", unsafe.Sizeof(executableStatistic{}), 544},
		{"VkPipelineExecutableInternalRepresentationKHR", unsafe.Sizeof(executableText{}), 552},
		{"VkDescriptorPoolCreateInfo", unsafe.Sizeof(descriptorPoolCreateInfo{}), 40},
		{"VkDescriptorSetAllocateInfo", unsafe.Sizeof(descriptorSetAllocateInfo{}), 40},
		{"VkDescriptorBufferInfo", unsafe.Sizeof(bufferRange{}), 24},
		{"VkWriteDescriptorSet", unsafe.Sizeof(descriptorWrite{}), 64},
		{"VkMemoryBarrier", unsafe.Sizeof(memoryBarrier{}), 24},
		{"VkBufferCopy", unsafe.Sizeof(bufferCopy{}), 24},
		{"VkSubmitInfo", unsafe.Sizeof(submitInfo{}), 72},
	} {
		if s.got != s.want {
			t.Errorf("%s has %d bytes, want %d", s.name, s.got, s.want)
		}
	}
}
