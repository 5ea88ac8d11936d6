package enginetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/conformance"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// testPrograms tests programs made of additions.
func testPrograms(t *testing.T, dev engine.Device) {
	t.Run("Random", func(t *testing.T) { testRandom(t, dev) })
	t.Run("Step", func(t *testing.T) { testStep(t, dev) })
	t.Run("Ahead", func(t *testing.T) { testAhead(t, dev) })
	t.Run("Cut", func(t *testing.T) { testCut(t, dev) })
	t.Run("Mixed", func(t *testing.T) { testMixed(t, dev) })
	t.Run("SplitBuffer", func(t *testing.T) { testSplitBuffer(t, dev) })
	t.Run("SharedBuffers", func(t *testing.T) { testSharedBuffers(t, dev) })
	t.Run("SameView", func(t *testing.T) { testSameView(t, dev) })
	t.Run("Cancel", func(t *testing.T) { testCancel(t, dev) })
	t.Run("Long", func(t *testing.T) { testLong(t, dev) })
	t.Run("Profile", func(t *testing.T) { testProfile(t, dev) })
}

// noStep is the step block of programs that do not read it.
var noStep [shaders.StepWords]uint32

// allocate allocates persistent buffers for the duration of a test.
func allocate(t *testing.T, dev engine.Device, buffers ...*engine.Buffer) {
	t.Helper()
	memories, err := engine.Allocate(dev, "a test", buffers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Free(memories) })
}

// mustCompile compiles a recording for the duration of a test.
func mustCompile(t *testing.T, dev engine.Device, p *engine.Program, arena []engine.Memory) engine.Executable {
	t.Helper()
	e, err := compile(dev, p, arena)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Free)
	return e
}

func mustRun(t *testing.T, e engine.Executable, step *[shaders.StepWords]uint32) {
	t.Helper()
	if err := e.Run(t.Context(), step); err != nil {
		t.Fatal(err)
	}
}

func upload(t *testing.T, dev engine.Device, b *engine.Buffer, values []float32) {
	t.Helper()
	if err := engine.Upload(dev, b.View(), values); err != nil {
		t.Fatal(err)
	}
}

func download(t *testing.T, dev engine.Device, b *engine.Buffer) []float32 {
	t.Helper()
	values := make([]float32, b.Bytes/4)
	if err := engine.Download(dev, b.View(), values); err != nil {
		t.Fatal(err)
	}
	return values
}

// add records y = a + b. y is neither a nor b.
func add(p *engine.Program, n int, a, b, y engine.View) {
	p.Dispatch(shaders.Copy, shaders.CopyParams{N: uint32(n)}, a, y)
	accumulate(p, shaders.N(n), b, y)
}

// accumulate records y += x.
func accumulate(p *engine.Program, n shaders.Count, x, y engine.View) {
	p.Dispatch(shaders.Accumulate, shaders.AccumulateParams{N: n}, x, y)
}

// testRandom runs random programs, all in one arena and some in several segments, and
// compares every output and kept temporary with the recorded values. Additions in float32
// are exact: there is no tolerance.
func testRandom(t *testing.T, dev engine.Device) {
	arena, err := engine.AllocateSegments(dev, "a shared arena", slices.Repeat(engine.Segments{1 << 15}, 12))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Free(arena)
	for seed := range uint64(12) {
		r := Random(seed, 100)
		allocate(t, dev, slices.Concat(r.Inputs, r.Outputs)...)
		for _, b := range r.Inputs {
			upload(t, dev, b, r.Before[b])
		}
		plan, err := engine.NewPlan(r.Program, []int64{0, 2048, 5000}[seed%3])
		if err != nil {
			t.Fatal(err)
		}
		e, err := dev.Compile(plan, arena)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Free)
		for replay := range 2 {
			mustRun(t, e, &noStep)
			for _, b := range r.Outputs {
				expect(t, seed, replay, b, download(t, dev, b), r.After[b])
			}
			for _, b := range r.Kept {
				got := make([]float32, b.Bytes/4)
				if err := engine.DownloadTemp(dev, e, b.View(), got); err != nil {
					t.Fatal(err)
				}
				expect(t, seed, replay, b, got, r.After[b])
			}
		}
	}
}

func expect(t *testing.T, seed uint64, replay int, b *engine.Buffer, got, want []float32) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("program %d, replay %d: %s[%d] = %g, want %g", seed, replay, b.Label, i, got[i], want[i])
		}
	}
}

// testStep changes the number of elements from replay to replay.
func testStep(t *testing.T, dev engine.Device) {
	const n, slot, base, before = 1000, 3, 100, 1
	a, y := engine.NewBuffer("a", 4*n), engine.NewBuffer("y", 4*n)
	allocate(t, dev, a, y)
	upload(t, dev, a, slices.Repeat([]float32{1}, n))
	p := engine.NewProgram("step")
	accumulate(p, shaders.Count{Max: n, Slot: slot, Base: base}, a.View(), y.View())
	e := mustCompile(t, dev, p, nil)
	for _, s := range []struct{ step, rows int }{{0, 0}, {base, 0}, {base + 1, 1}, {base + 500, 500}, {base + n, n}, {5000, n}, {50, 0}} {
		upload(t, dev, y, slices.Repeat([]float32{before}, n))
		var step [shaders.StepWords]uint32
		step[slot] = uint32(s.step)
		mustRun(t, e, &step)
		for i, got := range download(t, dev, y) {
			want := float32(before)
			if i < s.rows {
				want = 2
			}
			if got != want {
				t.Fatalf("step[%d] = %d: y[%d] = %g, want %g", slot, s.step, i, got, want)
			}
		}
	}
}

// testAhead starts programs without waiting: each gets its own step block and reads what
// was written before it, and a fetch returns the contents of its point in the order.
func testAhead(t *testing.T, dev engine.Device) {
	const n, slot, rounds = 1 << 16, 3, 20 // more rounds than a device's queue holds
	a, y := engine.NewBuffer("a", 4*n), engine.NewBuffer("y", 4*n)
	allocate(t, dev, a, y)
	upload(t, dev, y, make([]float32, n))
	p := engine.NewProgram("ahead")
	sum := p.Temp("sum", 4*n)
	p.Keep(sum)
	accumulate(p, shaders.Count{Max: n, Slot: slot}, a.View(), y.View())
	p.Dispatch(shaders.Copy, shaders.CopyParams{N: n}, y.View(), sum.View())
	e := mustCompile(t, dev, p, nil)
	sums := make([][1]float32, rounds)
	for i := range rounds {
		upload(t, dev, a, slices.Repeat([]float32{float32(i)}, n))
		var step [shaders.StepWords]uint32
		step[slot] = uint32(n - i)
		if err := engine.Start(t.Context(), e, &step); err != nil {
			t.Fatal(err)
		}
		if err := engine.FetchTemp(dev, e, sum.View(), sums[i][:]); err != nil {
			t.Fatal(err)
		}
	}
	got := download(t, dev, y)
	for i, sum := range sums {
		if want := float32(i * (i + 1) / 2); sum[0] != want {
			t.Errorf("round %d gave %g, want %g", i, sum[0], want)
		}
	}
	for i, got := range got {
		reached := min(rounds-1, n-1-i) // the last round with this row
		if want := float32(reached * (reached + 1) / 2); got != want {
			t.Fatalf("y[%d] = %g, want %g", i, got, want)
		}
	}
}

// testMixed runs two kernels, one after the other, with the same number of bindings and
// parameter blocks of different sizes.
func testMixed(t *testing.T, dev engine.Device) {
	const n = 4
	index, x, y := engine.NewBuffer("index", 4), engine.NewBuffer("x", 4*n), engine.NewBuffer("y", 4*n)
	allocate(t, dev, index, x, y)
	upload(t, dev, x, slices.Repeat([]float32{1}, n))
	p := engine.NewProgram("mixed")
	row := p.Temp("row", 4*n)
	p.Dispatch(shaders.GatherRows, shaders.GatherRowsParams{Rows: shaders.N(1), Cols: n}, index.View(), x.View(), row.View())
	p.Dispatch(shaders.SwiGLU, shaders.SwiGLUParams{N: shaders.N(n)}, row.View(), row.View(), y.View())
	mustRun(t, mustCompile(t, dev, p, nil), &noStep)
	want := 1 / (1 + math.Exp(-1)) // swiglu(1, 1)
	for i, got := range download(t, dev, y) {
		if math.Abs(float64(got)-want) > 1e-6 { // the error of exp
			t.Errorf("y[%d] = %g, want %g", i, got, want)
		}
	}
}

// testSharedBuffers alternates two programs over one set of buffers, as accumulation and
// update do.
func testSharedBuffers(t *testing.T, dev engine.Device) {
	const n = 300
	one, x, y := engine.NewBuffer("one", 4*n), engine.NewBuffer("x", 4*n), engine.NewBuffer("y", 4*n)
	allocate(t, dev, one, x, y)
	upload(t, dev, one, slices.Repeat([]float32{1}, n))
	if slices.ContainsFunc(download(t, dev, x), func(v float32) bool { return v != 0 }) {
		t.Fatal("fresh memory is not zero")
	}
	there, back := engine.NewProgram("there"), engine.NewProgram("back")
	add(there, n, x.View(), one.View(), y.View())
	add(back, n, y.View(), one.View(), x.View())
	first, second := mustCompile(t, dev, there, nil), mustCompile(t, dev, back, nil)
	for range 3 {
		mustRun(t, first, &noStep)
		mustRun(t, second, &noStep)
	}
	for i, got := range download(t, dev, x) {
		if got != 6 {
			t.Fatalf("x[%d] = %g after six programs that add 1", i, got)
		}
	}
}

// testSameView gives a kernel the same view for three bindings, beside others in the same arena.
func testSameView(t *testing.T, dev engine.Device) {
	const n = 64
	x, y := engine.NewBuffer("x", 4*n*n), engine.NewBuffer("y", 4*n*n)
	allocate(t, dev, x, y)
	upload(t, dev, x, slices.Repeat([]float32{2}, n*n))
	p := engine.NewProgram("square")
	twice, square := p.Temp("twice", 4*n*n), p.Temp("square", 4*n*n)
	add(p, n*n, x.View(), x.View(), twice.View())
	p.Dispatch(shaders.MatMul, shaders.MatMulParams{
		M: shaders.N(n), K: shaders.N(n), N: n, TransB: 1, LDA: n, LDB: n, LDC: n, Batch: 1, Alpha: 1, Residual: 1,
	}, twice.View(), twice.View(), engine.View{}, twice.View(), square.View())
	p.Dispatch(shaders.Copy, shaders.CopyParams{N: n * n}, square.View(), y.View())
	mustRun(t, mustCompile(t, dev, p, nil), &noStep)
	for i, got := range download(t, dev, y) {
		if got != 16*n+4 {
			t.Fatalf("element %d of the square is %g, want %d", i, got, 16*n+4)
		}
	}
}

// chain records n additions, of two dispatches each, of one to the result of the last.
func chain(n, floats int) (p *engine.Program, x, one, y *engine.Buffer) {
	p = engine.NewProgram("chain")
	bytes := int64(4 * floats)
	x, one, y = engine.NewBuffer("x", bytes), engine.NewBuffer("one", bytes), engine.NewBuffer("y", bytes)
	last := x
	for i := range n {
		next := y
		if i < n-1 {
			next = p.Temp("sum", bytes)
		}
		add(p, floats, last.View(), one.View(), next.View())
		last = next
	}
	return p, x, one, y
}

// testCancel cancels a context before and during a run; the device stays usable.
func testCancel(t *testing.T, dev engine.Device) {
	p, x, one, y := chain(1500, 1<<14)
	allocate(t, dev, x, one, y)
	e := mustCompile(t, dev, p, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(5*time.Millisecond, cancel)
	for {
		if err := e.Run(ctx, &noStep); errors.Is(err, context.Canceled) {
			break
		} else if err != nil {
			t.Fatalf("cancelled during a run: %v", err)
		}
	}
	upload(t, dev, y, slices.Repeat([]float32{-1}, 1<<14))
	if err := e.Run(ctx, &noStep); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before a run: %v", err)
	}
	if got := download(t, dev, y)[0]; got != -1 {
		t.Errorf("a run that was cancelled before its start wrote %g", got)
	}
	mustRun(t, e, &noStep)
}

// testLong compiles and replays a program with the number of dispatches of a training
// step.
func testLong(t *testing.T, dev engine.Device) {
	const n, floats = 2500, 64
	p, x, one, y := chain(n, floats)
	allocate(t, dev, x, one, y)
	upload(t, dev, one, slices.Repeat([]float32{1}, floats))
	begin := time.Now()
	e := mustCompile(t, dev, p, nil)
	compiled := time.Since(begin)
	mustRun(t, e, &noStep)
	begin = time.Now()
	mustRun(t, e, &noStep)
	t.Logf("%d dispatches: compiled in %v, replayed in %v, of which %v on the host only", 2*n, compiled, time.Since(begin), e.HostTime())
	if got := download(t, dev, y)[0]; got != n {
		t.Errorf("%d additions of 1 make %g", n, got)
	}
	// A second is twenty times what it takes: only a quadratic algorithm would be slower.
	if compiled > time.Second {
		t.Errorf("compiling took %v", compiled)
	}
}

// testProfile checks that every dispatch is measured, in order, and that a profiled run
// computes the same as Run.
func testProfile(t *testing.T, dev engine.Device) {
	const n, floats = 300, 1 << 12
	p, x, one, y := chain(n, floats)
	allocate(t, dev, x, one, y)
	upload(t, dev, one, slices.Repeat([]float32{1}, floats))
	e := mustCompile(t, dev, p, nil)
	for range 2 {
		upload(t, dev, y, make([]float32, floats))
		timings, err := e.Profile(t.Context(), &noStep)
		if errors.Is(err, engine.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		checkTimings(t, timings, 2*n)
		if got := download(t, dev, y)[floats-1]; got != n {
			t.Errorf("%d additions of 1 make %g", n, got)
		}
	}
}

func checkTimings(t *testing.T, timings []engine.Timing, n int) {
	t.Helper()
	if len(timings) != n {
		t.Fatalf("%d timings of %d dispatches", len(timings), n)
	}
	var end, total time.Duration
	for i, m := range timings {
		if m.Dispatch != i || m.Start < end || m.Duration < 0 {
			t.Fatalf("timing %d is %+v, the one before ended at %v", i, m, end)
		}
		end = m.Start + m.Duration
		total += m.Duration
	}
	if total <= 0 || end > time.Minute {
		t.Errorf("%d dispatches took %v and ended after %v", n, total, end)
	}
}

// testReplay runs the last case that is not large of every kernel twice: the same bits.
func testReplay(t *testing.T, dev engine.Device) {
	for _, k := range shaders.All() {
		cases := slices.DeleteFunc(k.Cases(), func(c shaders.Case) bool { return c.Long || conformance.Large(c) })
		if len(cases) == 0 || len(conformance.VariantsOf(dev, k, cases[0])) == 0 {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			c := cases[len(cases)-1]
			contents := kernelcheck.Fill(k, c)
			x, err := conformance.NewCall(dev, k, c, contents, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Free()
			first := outputs(t, x, c, contents)
			for i, again := range outputs(t, x, c, contents) {
				if !slices.Equal(first[i], again) {
					t.Errorf("binding %s differs from one replay to the next", k.Bindings[i].Name)
				}
			}
		})
	}
}

// outputs runs a call from fresh contents and reads all its bindings.
func outputs(t *testing.T, x *conformance.Call, c shaders.Case, contents [][]uint32) [][]uint32 {
	if err := x.Reset(contents); err != nil {
		t.Fatal(err)
	}
	if err := x.Run(t.Context(), c.Step); err != nil {
		t.Fatal(err)
	}
	got := make([][]uint32, len(contents))
	for i := range contents {
		var err error
		if got[i], _, err = x.Read(i); err != nil {
			t.Fatal(err)
		}
	}
	return got
}
