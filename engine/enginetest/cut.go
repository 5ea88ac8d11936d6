package enginetest

import (
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// testCut runs a program in parts that share an arena, each part started before what the one
// before has made is fetched, as gradients are while the backward pass still runs.
func testCut(t *testing.T, dev engine.Device) {
	const n, outputs = 5 << 20, 4 // 20 MiB an output: several staging buffers
	one := engine.NewBuffer("one", 4*n)
	ys := make([]*engine.Buffer, outputs)
	p := engine.NewProgram("cut")
	sum := p.Temp("sum", 4*n)
	views := make([]engine.View, outputs)
	for i := range ys {
		ys[i] = engine.NewBuffer("y", 4*n)
		views[i] = ys[i].View()
	}
	allocate(t, dev, append(slices.Clone(ys), one)...)
	upload(t, dev, one, slices.Repeat([]float32{1}, n))
	p.Dispatch(shaders.Copy, shaders.CopyParams{N: n}, one.View(), sum.View())
	for i := range ys { // y[i] = i + 2
		accumulate(p, shaders.N(n), one.View(), sum.View())
		p.Dispatch(shaders.Copy, shaders.CopyParams{N: n}, sum.View(), views[i])
	}
	plan, err := engine.NewPlan(p, dev.Info().Limits.MaxBufferBytes)
	if err != nil {
		t.Fatal(err)
	}
	ends := plan.LastWrites(append(views, one.View()))
	if want := []int{3, 5, 7, 9, 0}; !slices.Equal(ends, want) {
		t.Fatalf("the last writes are at %v, want %v", ends, want)
	}
	parts := plan.Cut(ends[:outputs-1])
	arena, err := engine.AllocateSegments(dev, "an arena", plan.Arena)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Free(arena) })
	got := make([][]float32, outputs)
	fetched := func(i int) {
		if err := engine.WaitFetched(dev); err != nil {
			t.Fatal(err)
		}
		if want := float32(i + 2); got[i][0] != want || got[i][n/2] != want || got[i][n-1] != want {
			t.Errorf("output %d was fetched as %g, %g, %g, want %g", i, got[i][0], got[i][n/2], got[i][n-1], want)
		}
	}
	for i, part := range parts {
		e, err := dev.Compile(part, arena)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Free)
		if err := engine.Start(t.Context(), e, &noStep); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			fetched(i - 1)
		}
		got[i] = make([]float32, n)
		if err := engine.FetchFloats(dev, views[i], got[i]); err != nil {
			t.Fatal(err)
		}
	}
	fetched(outputs - 1)
	if own, ok := engine.HostFloats(dev, views[0]); ok { // the device's memory is the host's
		own[7] = 100
		if y := download(t, dev, ys[0]); y[7] != 100 || y[8] != 2 {
			t.Errorf("after a write to the memory itself the buffer is %g, %g, want 100, 2", y[7], y[8])
		}
	}
}
