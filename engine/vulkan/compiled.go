package vulkan

import "time"

// Compiled is what a driver's compiler made of one entry point of a kernel's variant.
type Compiled struct {
	Entry        string
	Constants    []uint32 // for specialisation, from number 0 on
	Required     int      // subgroup size that the pipeline requires; 0 = the driver chooses
	SubgroupSize int      // that the compiler chose; 0 where it does not report it
	Time         time.Duration
	Statistics   []Statistic
	Texts        []Text
}

// Statistic is a number that a compiler reports under its own name.
type Statistic struct {
	Name        string  `json:"name"`
	Description string  `json:"-"`
	Value       float64 `json:"value"`
}

// Text is a compiler's internal representation of a shader: its intermediate code, or the
// assembly.
type Text struct{ Name, Description, Content string }

// CompileTime is how long it took to make the pipelines of dispatches.
type CompileTime struct {
	Pipelines int
	Time      time.Duration
	Cache     []byte // for another run
}
