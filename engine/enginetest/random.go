package enginetest

import (
	"math/rand/v2"

	"patchwork/engine"
)

// Recording is a random program of additions over persistent and temporary buffers, with
// the expected values.
type Recording struct {
	Program *engine.Program
	Inputs  []*engine.Buffer // persistent, to be filled with Values before
	Outputs []*engine.Buffer // persistent, written by the program
	Kept    []*engine.Buffer // temporaries that are kept

	// Before and After are the contents of the buffers: of the inputs before the program,
	// of all buffers that it writes after it.
	Before, After map[*engine.Buffer][]float32
}

// Random records a program of n additions. Buffers have different lengths, and
// some views are slices of them.
func Random(seed uint64, n int) *Recording {
	g := &generator{
		random: rand.New(rand.NewPCG(seed, 1)),
		Recording: &Recording{
			Program: engine.NewProgram("random"),
			Before:  map[*engine.Buffer][]float32{},
			After:   map[*engine.Buffer][]float32{},
		},
	}
	for range 4 {
		g.input()
	}
	for range n {
		g.add()
	}
	return g.Recording
}

type generator struct {
	*Recording
	random *rand.Rand
	values []*engine.Buffer // that have contents
}

// unit is the number of floats that slices are multiples of.
const unit = engine.Alignment / 4

func (g *generator) length() int { return unit * (1 + g.random.IntN(8)) }

func (g *generator) input() {
	values := make([]float32, 8*unit)
	for i := range values {
		values[i] = float32(g.random.NormFloat64())
	}
	b := engine.NewBuffer("input", int64(4*len(values)))
	g.Inputs, g.values = append(g.Inputs, b), append(g.values, b)
	g.Before[b], g.After[b] = values, values
}

// add records y = a + b for a new or an old y.
func (g *generator) add() {
	a, b := g.pick(), g.pick()
	n := min(g.length(), len(g.After[a]), len(g.After[b]))
	y := g.output(n)
	if y == a || y == b {
		return
	}
	n = min(n, len(g.After[y]))
	va, fa := g.slice(a, n)
	vb, fb := g.slice(b, n)
	vy, fy := g.slice(y, n)
	add(g.Program, n, va, vb, vy)
	for i := range fy {
		fy[i] = fa[i] + fb[i]
	}
}

// pick returns a recent value most of the time, so that lifetimes are short.
func (g *generator) pick() *engine.Buffer {
	recent := g.values[max(0, len(g.values)-6):]
	if g.random.IntN(4) == 0 {
		recent = g.values
	}
	return recent[g.random.IntN(len(recent))]
}

// output returns the buffer to write: an old output or a new buffer of n floats, all of
// which are written, so that no element is read before it is written.
func (g *generator) output(n int) *engine.Buffer {
	if len(g.Outputs) > 0 && g.random.IntN(4) == 0 {
		return g.Outputs[g.random.IntN(len(g.Outputs))]
	}
	bytes := int64(4 * n)
	var b *engine.Buffer
	switch g.random.IntN(8) {
	case 0:
		b = engine.NewBuffer("output", bytes)
		g.Outputs = append(g.Outputs, b)
	case 1:
		b = g.Program.Temp("kept", bytes)
		g.Program.Keep(b)
		g.Kept = append(g.Kept, b)
	default:
		b = g.Program.Temp("temporary", bytes)
	}
	g.values = append(g.values, b)
	g.After[b] = make([]float32, n)
	return b
}

// slice returns n floats of a buffer at a random aligned offset.
func (g *generator) slice(b *engine.Buffer, n int) (engine.View, []float32) {
	values := g.After[b]
	at := unit * g.random.IntN((len(values)-n)/unit+1)
	return b.View().Slice(int64(4*at), int64(4*n)), values[at : at+n]
}
