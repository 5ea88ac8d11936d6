// Package webgpu runs the engine's programs through WebGPU: wgpu-native 0.17 by
// rajveermalviya/go-webgpu, on Vulkan, Metal or Direct3D 12. It takes the kernels'
// WGSL as it is. A command buffer can be submitted only once there, so a program
// is encoded anew for every replay.
//
// What the library does not report cannot be caught: a lost device ends the
// process, and a run's safety is its checkpoint. Without cgo, and with the build
// tag nowebgpu, the package has no devices.
package webgpu
