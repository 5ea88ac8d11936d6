package kernelbench

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/tuned"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// TestRoofline checks fractions and bounds under made-up roofs.
func TestRoofline(t *testing.T) {
	roof := Roof{Flops: 100e9, Launch: time.Microsecond, Levels: []Level{{1 << 10, 8e9}, {1 << 20, 40e9}, {1 << 30, 10e9}}}
	for _, c := range []struct {
		name     string
		cost     shaders.Cost
		seconds  float64
		fraction float64
		bound    string
	}{
		{"a matmul", shaders.Cost{Flops: 1e9, Bytes: 1e6}, 0.02, 0.5, ByCompute},
		{"from memory", shaders.Cost{Flops: 1e6, Bytes: 1e8}, 0.02, 0.5, ByMemory},
		// The smallest working set is copied slower than the next: launch overhead
		// dominates.
		{"from a cache", shaders.Cost{Bytes: 400e3}, 20e-6, 0.5, ByMemory},
		{"beyond all levels", shaders.Cost{Bytes: 10e9}, 1, 1, ByMemory},
		{"next to nothing", shaders.Cost{Flops: 3, Bytes: 12}, 4e-6, 0.25, ByLaunch},
	} {
		fraction, bound := roof.Fraction(c.cost, c.seconds)
		if math.Abs(fraction-c.fraction) > 1e-6 || bound != c.bound {
			t.Errorf("%s: %g of its roofline, bound by %s; want %g, %s", c.name, fraction, bound, c.fraction, c.bound)
		}
	}
}

// TestMeasure: a case with correct results is timed, one beyond the allowed time is
// skipped, and wrong results are detected.
func TestMeasure(t *testing.T) {
	dev := cpu.Open(0)
	b, err := New(t.Context(), dev, Options{Samples: 3, Time: 3 * time.Millisecond, MaxCallTime: time.Second})
	require.NoError(t, err)
	defer b.Free()
	if r := b.Roof(); r.Flops <= 0 || len(r.Levels) != len(levelBytes) || r.Launch <= 0 {
		t.Errorf("roof %+v", r)
	}
	add := FromConformance(shaders.Accumulate, 1<<15)
	got, err := b.Measure(t.Context(), add)
	require.NoError(t, err)
	if len(got.Samples) != 3 || got.Min <= 0 || got.Median() < got.Min || got.Checked != "conformance" || got.Class != "cpu" {
		t.Errorf("%+v", got)
	}
	long := *add
	long.Cost.Flops = 1e18
	var skip *SkipError
	if _, err := b.Measure(t.Context(), &long); !errors.As(err, &skip) || !strings.Contains(skip.Reason, "--case-time") {
		t.Errorf("a call of 10¹⁸ FLOP: %v", err)
	}
	if err := compare(t.Context(), dev, fromCase(shaders.Softmax, shaders.Case{Params: shaders.SoftmaxParams{Rows: shaders.N(1), Cols: 2},
		Inputs: []shaders.Input{{N: 2, Scale: 1}, {I: []int32{1, 1}}, {N: 2}}}, shaders.Storage{}),
		shaders.Case{Params: shaders.SoftmaxParams{Rows: shaders.N(1), Cols: 1}, Inputs: []shaders.Input{{N: 2, Scale: 1}, {I: []int32{1, 1}}, {N: 2}}}, false); err == nil {
		t.Error("a softmax over two columns passed for one over one")
	}
}

// TestFromDispatches: calls that differ only in their layout are one case, and views of one
// buffer still share a buffer.
func TestFromDispatches(t *testing.T) {
	p := engine.NewProgram("test")
	x, y := engine.NewBuffer("x", 4096), engine.NewBuffer("y", 4096)
	for _, base := range []uint32{0, 2, 0} {
		p.Dispatch(shaders.ArgMax, shaders.ArgMaxParams{Rows: shaders.N(2), Cols: 8, LD: 8, Base: base}, x.View(), y.View())
	}
	p.Dispatch(shaders.SwiGLU, shaders.SwiGLUParams{N: shaders.N(1024)}, x.View(), x.View(), y.View())
	require.NoError(t, p.Err())
	cases := FromDispatches("test", p.Dispatches, new([shaders.StepWords]uint32))
	if len(cases) != 2 || cases[0].Calls != 3 || cases[0].Name != "rows=2/cols=8" {
		t.Fatalf("%d cases, the first %+v", len(cases), cases[0])
	}
	if swiglu := cases[1]; !slices.Equal(swiglu.sizes, []int64{4096, 4096, 4096}) || !slices.Equal(swiglu.shares, []int{0, 0, 2}) {
		t.Errorf("swiglu of x twice has bindings of %d bytes that share %v", swiglu.sizes, swiglu.shares)
	}
}

// TestFastestOf: a variant replaces the class's own when it is clearly faster, in most
// rounds.
func TestFastestOf(t *testing.T) {
	for _, c := range []struct {
		name string
		us   map[string]float64
		wins map[string]int
		want string
	}{
		{"clearly", map[string]float64{"own": 10, "a": 5, "b": 7}, map[string]int{"a": 10, "b": 10}, "a"},
		{"hardly", map[string]float64{"own": 10, "a": 9.8}, map[string]int{"a": 10}, "own"},
		{"by luck", map[string]float64{"own": 10, "a": 5}, map[string]int{"a": 4}, "own"},
		{"second best is steady", map[string]float64{"own": 10, "a": 5, "b": 7}, map[string]int{"a": 4, "b": 9}, "b"},
	} {
		if got := fastestOf(tuned.Entry{Default: "own", US: c.us}, c.wins, 10); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
