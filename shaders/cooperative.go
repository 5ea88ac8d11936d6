package shaders

import (
	"fmt"
	"slices"
	"strings"
)

// Names of features, as a device lists them, that variants may need.
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

// Scope says whose invocations hold a cooperative matrix together.
type Scope string

const (
	ScopeSubgroup  Scope = "subgroup"
	ScopeWorkgroup Scope = "workgroup"
)

// Matrix is a product of cooperative matrices that a device computes in one
// instruction, result = a·b + c with a [M,K] and b [K,N].
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
	// Flexible says that M, N and K are what sizes must be multiples of, and
	// Invocations how many a workgroup then has.
	Flexible    bool   `json:"flexible,omitempty"`
	Invocations uint32 `json:"invocations,omitempty"`
}

// String is "16x16x16 bf16·bf16+f32", with what is out of the ordinary behind it: a
// result of another type, that it saturates, that sizes are flexible.
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

// sums16 says that the matrix multiplies 16-bit floats of a type and adds them up in
// 32 bits.
func (m Matrix) sums16(t Type) bool {
	return m.A == t.String() && m.B == t.String() && m.C == "f32" && m.Result == "f32" && !m.Saturating
}

// Cooperative says that a variant multiplies by cooperative matrices, of 16-bit
// floats with sums in 32 bits, and what it asks of the device for that. Its source
// is GLSL, compiled for Vulkan 1.3.
type Cooperative struct {
	Scope Scope
	// Rows, Cols and Depth of what is multiplied at once: by a subgroup, which takes
	// the device's matrices several times; or by a workgroup, as one matrix.
	Rows, Cols, Depth uint32
	// Subgroups of a workgroup, or in workgroup scope its Invocations.
	Subgroups, Invocations uint32
	// Rounds says that the variant multiplies what it computed itself, rounded to 16
	// bits for that: results are as exact as Case.Factors says.
	Rounds bool
	// Features beyond those that the scope and the types need.
	Features []string
}

// maxSubgroupMatrixSide is the largest side of a subgroup's matrix that variants have room for.
const maxSubgroupMatrixSide = 16

// requiredFeatures are the features that a cooperative variant needs with a type of 16 bits.
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

// matrix returns the largest of the target's matrices that the variant can be made
// of with a type of 16 bits.
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
	if m.M%8 != 0 || m.N%8 != 0 || m.K%8 != 0 || min(m.M, m.N, m.K) == 0 || c.Rows%m.M != 0 || c.Cols%m.N != 0 || c.Depth%m.K != 0 {
		return false
	}
	if m.Flexible {
		return m.Invocations == c.Invocations
	}
	return max(m.M, m.N, m.K) <= maxSubgroupMatrixSide
}

// size is the number of invocations of a workgroup on a target.
func (c *Cooperative) size(t DeviceCaps) int {
	if c.Scope == ScopeWorkgroup {
		return int(c.Invocations)
	}
	return int(c.Subgroups) * t.Subgroup
}

// fits reports whether a target has what the variant asks for with a type of 16 bits.
func (c *Cooperative) fits(t DeviceCaps, of Type) bool {
	for _, name := range slices.Concat(c.requiredFeatures(of), c.Features) {
		if !slices.Contains(t.Features, name) {
			return false
		}
	}
	_, ok := c.matrix(t, of)
	return ok && c.size(t) > 0 && (t.Invocations == 0 || c.size(t) <= t.Invocations)
}

// Caps is a device that has what the variant asks for with a type of 16 bits, and
// nothing more.
func (c *Cooperative) Caps(of Type) DeviceCaps {
	m := Matrix{M: min(c.Rows, maxSubgroupMatrixSide), N: min(c.Cols, maxSubgroupMatrixSide), K: min(c.Depth, maxSubgroupMatrixSide), A: of.String(), B: of.String(), C: "f32", Result: "f32", Scope: c.Scope}
	m.Flexible, m.Invocations = c.Scope == ScopeWorkgroup, c.Invocations
	return DeviceCaps{Class: Discrete, Subgroup: 32, Features: slices.Concat(c.requiredFeatures(of), c.Features), Matrices: []Matrix{m}}
}
