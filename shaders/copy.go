package shaders

// CopyParams are the parameters of Copy.
type CopyParams struct {
	N uint32 // elements
}

// Copy computes y = x: as fast as a device moves memory.
var Copy = Declare(Decl[CopyParams]{
	Name: "copy",
	Bindings: []Binding{
		{Name: "x", Access: Read},
		{Name: "y", Access: Write},
	},
	Variants: []DeclVariant[CopyParams]{
		{
			Name: "four", Vec4: []string{"x", "y"},
			When:   func(p CopyParams, _ Class) bool { return p.N%4 == 0 },
			Passes: []DeclPass[CopyParams]{{Grid: copyGrid}},
		},
		{Passes: []DeclPass[CopyParams]{{Grid: copyGrid}}},
	},
	CPU: func(h Host, p CopyParams, b Buffers) {
		x, y := b.F32(0), b.F32(1)
		h.Parallel(int(p.N), 16*elementGrain, func(lo, hi int) { copy(y[lo:hi], x[lo:hi]) })
	},
	Reference: func(p CopyParams, b []Array) { copy(b[1].F[:p.N], b[0].F) },
	Cost:      func(p CopyParams) Cost { return Cost{Bytes: 8 * float64(p.N)} },
	Cases: func() []Case {
		var cases []Case
		for _, n := range []int{1, 3, 64, 65, 260, 1024, 1031, 65535*64*4 + 4} {
			c := Case{Params: CopyParams{N: uint32(n)}, Inputs: []Input{{N: n, Scale: 1}, {N: n}}}
			cases = append(cases, c.named("n=%d", n))
		}
		return cases
	},
})

func copyGrid(p CopyParams) [3]uint32 { return grid1((int(p.N)+3)/4, 64) }
