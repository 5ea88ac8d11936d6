package generate

import (
	"slices"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm"
)

// planned is a generator of a model without a device, with a cache for so many tokens.
func planned(m *vlm.Model, capacity int) *Generator {
	g, t := New(&vlm.Runner{Model: m}), m.Config.Text
	g.cache, g.rope = vlm.NewCache(t, m.Storage(), capacity), engine.NewBuffer("rope table", 4*int64(capacity*t.HeadDim))
	return g
}

// MemoryBytes is the memory that a generator takes for a prompt of so many tokens, one
// image among them, and an answer, found without a device.
func MemoryBytes(m *vlm.Model, prompt, answer int) (int64, error) {
	g := planned(m, min(roundUp(prompt+answer, cacheStep), m.Config.Text.MaxPositionEmbeddings))
	var err error
	if g.embedder, err = vlm.PlanImageEmbedder(m, 1, 1); err != nil {
		return 0, err
	}
	total := g.rope.Bytes + g.embedder.Bytes()
	for _, b := range g.cache.Buffers {
		total += b.Bytes
	}
	for _, size := range slices.Compact([]int{1, g.passSize(min(prompt, g.largest()))}) {
		p, plan, err := g.planPass(size, 0)
		if err != nil {
			return 0, err
		}
		total += p.input.Bytes + plan.Arena.Total()
	}
	return total, nil
}

// RecordWork records generating without a device: "prefill" is an image and a whole pass
// of the largest size into an empty cache, "decode" the token that fills this cache.
func RecordWork(m *vlm.Model, work string) (dispatches []engine.Dispatch, step [shaders.StepWords]uint32, err error) {
	size := min(passSizes[len(passSizes)-1], m.Config.Text.MaxPositionEmbeddings)
	g := planned(m, size)
	tokens, visible := size, float64(size+1)/float64(2*size)
	if work == "decode" {
		tokens, visible = 1, 0
		step[vlm.SlotPast] = uint32(size - 1)
	} else if v := m.Config.Vision; v.PatchSize > 0 {
		if g.embedder, err = vlm.PlanImageEmbedder(m, 1, 1); err != nil {
			return nil, step, err
		}
		dispatches = g.embedder.Plan.Dispatches
	}
	step[vlm.SlotTokens] = uint32(tokens)
	_, plan, err := g.planPass(tokens, visible)
	if err != nil {
		return nil, step, err
	}
	return append(dispatches, plan.Dispatches...), step, nil
}
