package shaders

import (
	"fmt"
	"slices"
	"strings"
)

// Feature names, as in a device's list, that variants may require.
const (
	FeatureMatrix          = "cooperativeMatrix"
	FeatureBF16            = "shaderBFloat16Type"
	FeatureMatrixBF16      = "shaderBFloat16CooperativeMatrix"
	FeatureMatrixWorkgroup = "cooperativeMatrixWorkgroupScope"
	FeatureMatrixFlexible  = "cooperativeMatrixFlexibleDimensions"
	FeatureMatrixTensor    = "cooperativeMatrixTensorAddressing"
	FeatureMatrixElements  = "cooperativeMatrixPerElementOperations"
	FeatureF16             = "shaderFloat16"
	FeatureStorage16       = "storageBuffer16BitAccess"
	FeatureInt16           = "shaderInt16"
	FeatureMemoryModel     = "vulkanMemoryModel"
	FeatureLocalSizeID     = "maintenance4" // workgroups whose size is a specialisation constant
	FeatureSubgroupSize    = "requiredSubgroupSize"
)

// Scope is the set of invocations that share a cooperative matrix.
type Scope string

const (
	ScopeSubgroup  Scope = "subgroup"
	ScopeWorkgroup Scope = "workgroup"
)

// Matrix is a cooperative matrix operation of a device, result = a·b + c with a [M,K] and
// b [K,N].
type Matrix struct {
	M          uint32 `json:"m"`
	N          uint32 `json:"n"`
	K          uint32 `json:"k"`
	A          string `json:"a"` // component types: "bf16", "f16", "f32", "s8", …
	B          string `json:"b"`
	C          string `json:"c"`
	Result     string `json:"result"`
	Scope      Scope  `json:"scope"`
	Saturating bool   `json:"saturating,omitempty"`
	// Flexible means that sizes may be any multiples of M, N and K, in a workgroup of
	// Invocations.
	Flexible    bool   `json:"flexible,omitempty"`
	Invocations uint32 `json:"invocations,omitempty"`
}

// String is "16x16x16 bf16·bf16+f32", followed by the result's type where it is another,
// "saturating" and flexible sizes.
func (m Matrix) String() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%dx%dx%d %s·%s+%s", m.M, m.N, m.K, m.A, m.B, m.C)
	if m.Result != m.C {
		w.WriteString("→" + m.Result)
	}
	if m.Saturating {
		w.WriteString(" saturating")
	}
	switch {
	case m.Flexible && m.Invocations > 0:
		fmt.Fprintf(&w, " and multiples, %d invocations", m.Invocations)
	case m.Flexible:
		w.WriteString(" and multiples")
	}
	return w.String()
}

// sums16 reports whether the matrix multiplies 16-bit floats of a type and accumulates in
// 32 bits.
func (m Matrix) sums16(t Type) bool {
	return m.A == t.String() && m.B == t.String() && m.C == "f32" && m.Result == "f32" && !m.Saturating
}

// Cooperative describes a variant with cooperative matrices, of 16-bit floats with sums
// in 32 bits, and what it requires of the device. Its source is GLSL, compiled for Vulkan
// 1.3.
type Cooperative struct {
	Scope Scope
	// Rows, Cols and Depth of the tile of a workgroup. In workgroup scope it is one matrix.
	Rows, Cols, Depth uint32
	// Down and Across are how many of the device's matrices of the tile a subgroup has; with
	// Across 0, all that are side by side.
	Down, Across uint32
	// Narrow means that the variant is preferred only where the device's own subgroups have no
	// more than 32 invocations, as on NVIDIA and unlike AMD.
	Narrow bool
	// Invocations of a workgroup in workgroup scope.
	Invocations uint32
	// Rounds means that the variant rounds intermediate results to 16 bits before it
	// multiplies them: Case.ProductRoundingTolerance applies.
	Rounds bool
	// Features beyond those that the scope and the types require.
	Features []string
}

// minMatrixSide is the smallest side of a matrix that variants support, and divides every
// other.
const minMatrixSide = 8

// maxSubgroupMatrixSide is the largest side of a subgroup's matrix that variants support.
const maxSubgroupMatrixSide = 16

// requiredFeatures are the features that a cooperative variant requires with a 16-bit
// type.
func (c *Cooperative) requiredFeatures(t Type) []string {
	all := []string{FeatureMatrix, FeatureStorage16, FeatureInt16, FeatureMemoryModel}
	if t == BF16 {
		all = append(all, FeatureBF16, FeatureMatrixBF16)
	} else {
		all = append(all, FeatureF16)
	}
	if c.Scope == ScopeWorkgroup {
		return append(all, FeatureMatrixWorkgroup, FeatureMatrixFlexible, FeatureMatrixTensor, FeatureF16)
	}
	return append(all, FeatureLocalSizeID, FeatureSubgroupSize)
}

// matrix returns the largest of the device's matrices that divides the variant's tile,
// with a 16-bit type.
func (c *Cooperative) matrix(t DeviceCaps, of Type) (best Matrix, ok bool) {
	for _, m := range t.Matrices {
		if m.Scope != c.Scope || m.Flexible != (c.Scope == ScopeWorkgroup) || !m.sums16(of) || !c.divides(m) {
			continue
		}
		if m.M*m.N*m.K > best.M*best.N*best.K {
			best, ok = m, true
		}
	}
	return best, ok
}

func (c *Cooperative) divides(m Matrix) bool {
	if m.M%minMatrixSide != 0 || m.N%minMatrixSide != 0 || m.K%minMatrixSide != 0 || min(m.M, m.N, m.K) == 0 || c.Rows%(m.M*max(c.Down, 1)) != 0 || c.Cols%(m.N*max(c.Across, 1)) != 0 || c.Depth%m.K != 0 {
		return false
	}
	if m.Flexible {
		return m.Invocations == c.Invocations
	}
	return max(m.M, m.N, m.K) <= maxSubgroupMatrixSide
}

// size is the number of invocations of a workgroup on a device, with one of its matrices.
func (c *Cooperative) size(t DeviceCaps, m Matrix) int {
	if c.Scope == ScopeWorkgroup {
		return int(c.Invocations)
	}
	subgroups := c.Rows / (m.M * max(c.Down, 1))
	if c.Across > 0 {
		subgroups *= c.Cols / (m.N * c.Across)
	}
	return int(subgroups) * t.MatrixSubgroup()
}

// specialize returns the first specialisation constants of a subgroup's variant on a
// device: the invocations of a workgroup, and M, N and K of the matrices.
func (c *Cooperative) specialize(t DeviceCaps, of Type) []uint32 {
	m, ok := c.matrix(t, of)
	if !ok {
		return nil
	}
	return []uint32{uint32(c.size(t, m)), m.M, m.N, m.K}
}

// narrowSubgroup is the size of NVIDIA's subgroups.
const narrowSubgroup = 32

// prefers reports whether a device that fits prefers the variant.
func (c *Cooperative) prefers(t DeviceCaps) bool { return !c.Narrow || t.Subgroup <= narrowSubgroup }

// MatrixSubgroup is the size of the subgroups that share cooperative matrices: the
// device's own, but 32 where that is larger and the device also has 32, since Mesa's compiler for AMD
// takes fewer cycles for the same matmul then: see matmulCoop.
func (t DeviceCaps) MatrixSubgroup() int {
	if t.Subgroup > narrowSubgroup && t.MinSubgroup > 0 && t.MinSubgroup <= narrowSubgroup {
		return narrowSubgroup
	}
	return t.Subgroup
}

// fits reports whether a device has what the variant requires with a 16-bit type.
func (c *Cooperative) fits(t DeviceCaps, of Type) bool {
	for _, name := range slices.Concat(c.requiredFeatures(of), c.Features) {
		if !slices.Contains(t.Features, name) {
			return false
		}
	}
	m, ok := c.matrix(t, of)
	if !ok {
		return false
	}
	size := c.size(t, m)
	return size > 0 && (t.Invocations == 0 || size <= t.Invocations)
}

// Caps is a device with exactly what the variant requires with a 16-bit type.
func (c *Cooperative) Caps(of Type) DeviceCaps {
	m := Matrix{M: min(c.Rows/max(c.Down, 1), maxSubgroupMatrixSide), N: min(c.Cols/max(c.Across, 1), maxSubgroupMatrixSide), K: min(c.Depth, maxSubgroupMatrixSide), A: of.String(), B: of.String(), C: "f32", Result: "f32", Scope: c.Scope}
	m.Flexible, m.Invocations = c.Scope == ScopeWorkgroup, c.Invocations
	return DeviceCaps{Class: Discrete, Subgroup: 32, Features: slices.Concat(c.requiredFeatures(of), c.Features), Matrices: []Matrix{m}}
}
