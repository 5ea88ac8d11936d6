package shaders

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// elementGrain is the smallest number of elements worth a goroutine.
const elementGrain = 4096

// overSizes makes an elementwise kernel's cases: one element, odd counts, a full
// workgroup and one more, multiples of it, more than 65535 workgroups of 64, and counts
// reduced by the step block.
func overSizes(c func(n Count) Case) []Case {
	var cases []Case
	for _, n := range []int{1, 3, 64, 65, 1024, 1025, beyondGroups} {
		cases = append(cases, c(N(n)).named("n=%d", n))
	}
	return append(cases, overCounts(300, c)...)
}

// overRows makes the cases of a rowwise kernel: one element, rows shorter and longer than
// a workgroup, full workgroups and chunks, more than 65535 rows, and counts reduced by
// the step block.
func overRows(c func(rows Count, cols int) Case) []Case {
	var cases []Case
	for _, s := range [][2]int{{1, 1}, {1, 7}, {3, 64}, {128, 64}, {5, 65}, {9, 300}, {130, 33}, {2, 3072}, {65537, 2}} {
		cases = append(cases, c(N(s[0]), s[1]).named("%dx%d", s[0], s[1]))
	}
	return append(cases, overCounts(150, func(rows Count) Case { return c(rows, 33) })...)
}

// beyondGroups is how many elements take more than 65535 workgroups of 64.
const beyondGroups = 65535*64 + 1

// overCounts makes cases in which the step block sets none, half and all of limit rows.
func overCounts(limit int, c func(n Count) Case) []Case {
	return atCounts(limit, []int{0, limit / 2, limit}, c)
}

// atCounts makes cases in which the step block sets these numbers of limit rows.
func atCounts(limit int, counts []int, c func(n Count) Case) []Case {
	var cases []Case
	for _, n := range counts {
		const slot, base = 61, 3
		one := c(Count{Max: uint32(limit), Slot: slot, Base: base}).named("%d of %d", n, limit)
		one.Step = withWord(one.Step, slot, uint32(base+n))
		cases = append(cases, one)
	}
	return cases
}

// withWord returns a step block with an entry set.
func withWord(step []uint32, slot int, word uint32) []uint32 {
	block := make([]uint32, StepWords)
	copy(block, step)
	block[slot] = word
	return block
}

// writingAndAdding makes the cases of a kernel that writes its output, or adds
// to it when its flag is 1.
func writingAndAdding(cases func(accumulate uint32) []Case) []Case {
	all := cases(0)
	for _, c := range cases(1) {
		all = append(all, c.named("%s, adding", c.Name))
	}
	return all
}

func (c Case) named(format string, args ...any) Case {
	c.Name = fmt.Sprintf(format, args...)
	return c
}

// farApart is normally distributed values, each row around another mean, so that reading
// a neighbouring row changes the maximum.
func farApart(rows, cols int) Input {
	in := values(rows*cols, 4, 1)
	for i := range in.F {
		in.F[i] += float32(150 * (i / cols * 4 % 9))
	}
	return in
}

// spikes is n rows of n normally distributed values with one large value per row, each in
// another column.
func spikes(n int) Input {
	in := values(n*n, 4, 1)
	for i := range n {
		in.F[i*n+i] += 300
	}
	return in
}

// output is n values that a kernel adds to, or must overwrite: then they are NaN.
func output(n int, accumulate uint32) Input {
	if accumulate != 0 {
		return Input{N: n, Scale: 1}
	}
	return Input{F: slices.Repeat([]float32{float32(math.NaN())}, n)}
}

// integers is n integers in [lo, hi).
func integers(n, lo, hi int) Input {
	random := rand.New(rand.NewPCG(uint64(n), uint64(hi)))
	in := Input{I: make([]int32, n)}
	for i := range in.I {
		in.I[i] = int32(lo + random.IntN(hi-lo))
	}
	return in
}

// permutation is a fixed permutation of the numbers from 0 to n-1.
func permutation(n int) []int32 {
	p := make([]int32, n)
	for i, v := range rand.New(rand.NewPCG(uint64(n), 0)).Perm(n) {
		p[i] = int32(v)
	}
	return p
}

// distinctRows is n row indices, distinct if n is at most rows.
func distinctRows(n, rows int) Input {
	in, order := Input{I: make([]int32, n)}, permutation(rows)
	for i := range in.I {
		in.I[i] = order[i%rows]
	}
	return in
}

// positives is n values of at least 0.5.
func positives(n int) Input {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	in := Input{F: make([]float32, n)}
	for i := range in.F {
		in.F[i] = 0.5 + random.Float32()
	}
	return in
}

// set is the float64 form of put.
func set(y []float64, i int, v float64, accumulate uint32) {
	if accumulate != 0 {
		v += y[i]
	}
	y[i] = v
}

// stepFloat is an entry of the step block, as a reference gets it, read as f32.
func stepFloat(step Array, slot uint32) float64 {
	return float64(math.Float32frombits(uint32(step.I[slot])))
}
