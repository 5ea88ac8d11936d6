// Package webgpu runs the engine's programs through WebGPU: wgpu-native 0.17 by
// rajveermalviya/go-webgpu, on Vulkan, Metal or Direct3D 12. It compiles the kernels'
// WGSL. A WebGPU command buffer can be submitted only once, so a program is encoded again
// for every replay.
//
// A lost device that the library does not report ends the process; a run then resumes
// from its checkpoint. Without cgo, and with the build tag nowebgpu, the package has no
// devices.
package webgpu
