package shaders

// gridOf is the pass's workgroups where an invocation handles width elements.
func (d DeclPass[P]) gridOf(width int) func(p any) [3]uint32 {
	switch {
	case d.Elements != nil:
		return func(p any) [3]uint32 { return grid1((d.Elements(p.(P))+width-1)/width, 64) }
	case d.Rows != nil:
		return func(p any) [3]uint32 {
			rows, cols := d.Rows(p.(P))
			return gridRows(rows, (cols+width-1)/width)
		}
	}
	return func(p any) [3]uint32 { return d.Grid(p.(P)) }
}

// passes of a variant in which an invocation handles width elements.
func passes[P any](declared []DeclPass[P], width int) []Pass {
	all := make([]Pass, len(declared))
	for i, d := range declared {
		all[i] = Pass{Entry: d.Entry, grid: d.gridOf(width)}
	}
	return all
}

// One is the single plain variant with a single pass.
func One[P any](grid func(p P) [3]uint32) []DeclVariant[P] {
	return []DeclVariant[P]{{Passes: []DeclPass[P]{{Grid: grid}}}}
}

// elementwise is the single plain variant over n elements.
func elementwise[P any](n func(p P) uint32) []DeclVariant[P] {
	return []DeclVariant[P]{{Passes: []DeclPass[P]{{Elements: func(p P) int { return int(n(p)) }}}}}
}

// rowwise is the single plain variant over rows and their columns.
func rowwise[P any](rows func(p P) (rows, cols int)) []DeclVariant[P] {
	return []DeclVariant[P]{{Passes: []DeclPass[P]{{Rows: rows}}}}
}

// grid1 is a grid of n invocations in workgroups of size wg, in two dimensions where one
// would exceed 65535; group_index() in the shader is the inverse.
func grid1(n, wg int) [3]uint32 {
	groups := max(1, (n+wg-1)/wg)
	if groups <= 65535 {
		return [3]uint32{uint32(groups), 1, 1}
	}
	return [3]uint32{65535, uint32((groups + 65534) / 65535), 1}
}

// gridRows is a grid of workgroups of 64 along the columns of every row; position() in
// the shader is the inverse.
func gridRows(rows, cols int) [3]uint32 { return grid1(rows*((cols+63)/64), 1) }

// gridGroups is a workgroup for each of n rows.
func gridGroups(n int) [3]uint32 { return grid1(n, 1) }

// chunksOf is how many chunks of the given size cover n rows.
func chunksOf(n uint32, size int) int { return (int(n) + size - 1) / size }

// llvmpipeLoopLimit is the number of iterations of all loops of a shader together after
// which llvmpipe ends them, without an error.
// Variants whose loops may take more are not preferred; the gradient of attention
// over 8192 tokens with 32 heads on one key head has no such variant left and is an error.
const llvmpipeLoopLimit = 65535

// rowReduction are the variants of a kernel in which a workgroup reduces a row of cols
// elements: on a software device with as many invocations as a vector has lanes, since
// more would run in sequence; on a GPU with enough to hide memory latency. Long rows
// exceed llvmpipeLoopLimit with lanes.
func rowReduction[P any](cols func(p P) uint32, passes ...DeclPass[P]) []DeclVariant[P] {
	lanes := func(p P, c Class) bool { return c == Software && cols(p) <= 16384 }
	return []DeclVariant[P]{
		{Name: "lanes", Group: 8, When: lanes, Passes: passes},
		{Group: 128, Passes: passes},
	}
}
