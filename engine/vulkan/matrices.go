//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"slices"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/shaders"
)

// componentTypes are names for VkComponentTypeKHR.
var componentTypes = map[uint32]string{
	0: "f16", 1: "f32", 2: "f64",
	3: "s8", 4: "s16", 5: "s32", 6: "s64",
	7: "u8", 8: "u16", 9: "u32", 10: "u64",
	1000141000: "bf16", 1000491002: "f8e4m3", 1000491003: "f8e5m2",
}

// scopes are names for VkScopeKHR.
var scopes = map[uint32]shaders.Scope{1: "device", 2: shaders.ScopeWorkgroup, 3: shaders.ScopeSubgroup, 5: "queue family"}

// readMatrices lists the device's cooperative matrix operations. Their shaders are
// compiled for Vulkan 1.3; an older device has none.
func (i *instance) readMatrices(p *physical) (all []shaders.Matrix) {
	has := func(feature string) bool { return slices.Contains(p.features.names, feature) }
	if p.api < vk.Version(vk.MakeVersion(1, 3, 0)) || !has(shaders.FeatureMatrix) {
		return nil
	}
	for _, m := range enumerate[matrixProperties](i.procs.matrices, p.handle, structMatrixProperties) {
		all = append(all, m.matrix())
	}
	if !has(shaders.FeatureMatrixFlexible) {
		return all
	}
	for _, f := range enumerate[flexibleProperties](i.procs.flexibleMatrices, p.handle, structFlexibleProperties) {
		fixed := matrixProperties{f.header, f.m, f.n, f.k, f.a, f.b, f.c, f.result, f.saturates, f.scope}
		m := fixed.matrix()
		m.Flexible, m.Invocations = true, f.invocations
		all = append(all, m)
	}
	return all
}

// enumerate calls a function that lists extensible structs; nil where the loader lacks it
// or it fails.
func enumerate[T any](list proc, device vk.PhysicalDevice, kind vk.StructureType) []T {
	var n uint32
	if list == 0 || list.call(id(device), uintptr(unsafe.Pointer(&n)), 0) != vk.Success || n == 0 {
		return nil
	}
	all := make([]T, n)
	for i := range all {
		(*header)(unsafe.Pointer(&all[i])).sType = kind
	}
	if list.call(id(device), uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&all[0]))) != vk.Success {
		return nil
	}
	return all[:min(int(n), len(all))]
}

func (m matrixProperties) matrix() shaders.Matrix {
	name := func(component uint32) string {
		if known, ok := componentTypes[component]; ok {
			return known
		}
		return fmt.Sprintf("type %d", component)
	}
	scope, ok := scopes[m.scope]
	if !ok {
		scope = shaders.Scope(fmt.Sprintf("scope %d", m.scope))
	}
	return shaders.Matrix{
		M: m.m, N: m.n, K: m.k, A: name(m.a), B: name(m.b), C: name(m.c), Result: name(m.result),
		Scope: scope, Saturating: m.saturates != 0,
	}
}
