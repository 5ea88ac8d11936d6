// Package vulkan runs programs on GPUs, and on software rasterisers, through
// Vulkan 1.1. A plan is recorded into command buffers once and replayed each
// step.
//
// It needs cgo, Linux and a 64-bit processor at build time and libvulkan.so.1 with a
// driver at run time; otherwise List returns an error that names what is missing.
package vulkan
