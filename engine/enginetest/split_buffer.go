package enginetest

import (
	"context"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// testSplitBuffer adds buffers whose parts are in separate memories.
func testSplitBuffer(t *testing.T, dev engine.Device) {
	const part, parts = engine.Alignment, 3
	small := NewSmall(dev, part)
	var values []float32
	for i := range part / 4 * parts {
		values = append(values, float32(i))
	}
	x, y := engine.NewBuffer("x", part*parts), engine.NewBuffer("y", part*parts)
	for _, b := range []*engine.Buffer{x, y} {
		b.SplitAt([]int64{part, 2 * part, 5 * part}) // the last is past its end
	}
	memories, err := engine.Allocate(small, "a test", x, y)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Free(memories)
	if len(memories) != 2*parts {
		t.Errorf("%d memories for two buffers of %d parts", len(memories), parts)
	}
	upload(t, dev, x, values)
	p := engine.NewProgram("split")
	for _, v := range x.Parts() {
		sum := p.Temp("sum", part)
		add(p, part/4, v, v, sum.View())
		add(p, part/4, v, sum.View(), y.View().Slice(v.Offset, v.Bytes))
	}
	if err := engine.RunOnce(context.Background(), small, p); err != nil {
		t.Fatal(err)
	}
	for i, got := range download(t, dev, y) {
		if want := 3 * values[i]; got != want {
			t.Fatalf("y[%d] = %g, want %g", i, got, want)
		}
	}
	wide := engine.NewProgram("wide")
	wide.Dispatch(shaders.Copy, shaders.CopyParams{N: part / 2}, x.View(), y.View())
	if err := wide.Err(); err == nil || !strings.Contains(err.Error(), "crosses a split") {
		t.Errorf("a view across a split was recorded with %v", err)
	}
}
