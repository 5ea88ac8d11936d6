package kernelbench

import (
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// TestCheckedAtItsShape: gradients of attention are compared at shapes that no
// conformance case has, with outputs of the forward pass that match the inputs; with
// inputs rounded to 16 bits, by a conformance case.
func TestCheckedAtItsShape(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	call := func(batch, queries, keys, heads, kv, d int, stored shaders.Type) *Case {
		p := shaders.AttentionParams{
			Batch: uint32(batch), Queries: uint32(queries), Keys: uint32(keys), Heads: uint32(heads), KVHeads: uint32(kv), HeadDim: uint32(d), Scale: 0.2,
		}
		q, k := batch*queries*heads*d, batch*keys*kv*d
		var views []engine.View
		for i, n := range []int{q, k, k, 4 * batch * queries, q, batch * queries * heads, q, q, k, k} {
			b := shaders.AttentionBackward.Bindings[i]
			buffer := engine.NewBuffer(b.Name, 4*int64(n))
			if stored.Half() && i != 3 && i != 5 {
				buffer.Bytes, buffer.Type = 2*int64(n), stored
			}
			views = append(views, buffer.View())
		}
		program := engine.NewProgram("test")
		program.Dispatch(shaders.AttentionBackward, p, views...)
		require.NoError(t, program.Err())
		return FromDispatches("test", program.Dispatches, new([shaders.StepWords]uint32))[0]
	}
	for _, c := range []struct {
		benchCase *Case
		want      string
	}{
		{call(1, 70, 70, 3, 3, 32, shaders.F32), CheckedHere},
		{call(2, 41, 41, 6, 2, 64, shaders.F32), CheckedHere},
		{call(3, 7, 90, 4, 1, 16, shaders.F32), CheckedHere},
		{call(1, 140, 140, 3, 3, 32, shaders.F32), CheckedHere},
		{call(1, 1000, 1000, 3, 3, 32, shaders.F32), CheckedVariant},
		{call(1, 70, 70, 3, 3, 32, shaders.BF16), CheckedVariant},
		{call(1, 70, 70, 3, 3, 32, shaders.F16), CheckedVariant},
	} {
		variant, _ := variantOf(dev, c.benchCase)
		k := &checker{dev: dev, variant: map[string]string{}}
		if got, err := k.check(t.Context(), c.benchCase, variant); err != nil || got != c.want {
			t.Errorf("%s, %v: checked: %s, %v; want %s", c.benchCase.Name, c.benchCase.Storage.Type, got, err, c.want)
		}
	}
}
