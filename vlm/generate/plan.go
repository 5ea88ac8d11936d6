package generate

import (
	"slices"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm"
)

// newPlanner returns a generator without a device, with a cache of the given capacity, for
// planning.
func newPlanner(m *vlm.Model, capacity int) *Generator {
	g := New(&vlm.Runner{Model: m})
	g.cache, g.rope = vlm.NewCache(m, capacity, largestPass(m.Config)), ropeBuffers(m, capacity)
	return g
}

// Memory is what a generator takes besides the weights, in bytes.
type Memory struct{ Cache, Activations int64 }

// Total is the sum.
func (m Memory) Total() int64 { return m.Cache + m.Activations }

// PlanMemory returns the memory of a generator for a prompt with one image, and an answer, of the
// given lengths, computed without a device.
func PlanMemory(m *vlm.Model, prompt, answer int) (memory Memory, err error) {
	g := newPlanner(m, min(roundUp(prompt+answer, cacheStep), m.Config.Text.MaxPositionEmbeddings))
	total, err := g.planEmbedders(prompt)
	if err != nil {
		return Memory{}, err
	}
	for _, b := range g.cache.Buffers {
		memory.Cache += b.Bytes
	}
	for _, b := range g.rope {
		total += b.Bytes
	}
	for _, size := range slices.Compact([]int{1, g.passSize(min(prompt, g.maxPass()))}) {
		p, plan, err := g.planPass(size, 0)
		if err != nil {
			return Memory{}, err
		}
		total += p.input.Bytes + plan.Arena.Total()
	}
	memory.Activations = total
	return memory, nil
}

// planEmbedders plans the embedders for one image, and for sound as long as the prompt, and returns
// their memory with that of the vectors.
func (g *Generator) planEmbedders(prompt int) (bytes int64, err error) {
	c := g.Config
	if c.TextOnly() {
		return 0, nil
	}
	rows := c.Vision.Patches()
	if !c.Audio.None() {
		rows += prompt
	}
	g.vectors = vlm.PlanVectors(g.Model, rows)
	bytes = g.vectors.Bytes()
	if !c.Vision.None() {
		if g.embedder, err = vlm.PlanImageEmbedder(g.Model, 1, g.vectors); err != nil {
			return 0, err
		}
		bytes += g.embedder.Bytes()
	}
	if !c.Audio.None() {
		if g.sound, err = vlm.PlanSoundEmbedder(g.Model, g.vectors); err != nil {
			return 0, err
		}
		bytes += g.sound.Bytes()
	}
	return bytes, nil
}

// RecordWork records generation without a device: "prefill" is the encoding of an image and a pass
// of the largest size into an empty cache, "decode" the token that fills this cache.
func RecordWork(m *vlm.Model, work string) (dispatches []engine.Dispatch, step [shaders.StepWords]uint32, err error) {
	size := min(passSizes[len(passSizes)-1], m.Config.Text.MaxPositionEmbeddings)
	g := newPlanner(m, size)
	tokens, density := size, float64(size+1)/float64(2*size)
	if work == "decode" {
		tokens, density = 1, 0
	} else if !m.Config.TextOnly() {
		if _, err := g.planEmbedders(size); err != nil {
			return nil, step, err
		}
		if g.embedder != nil {
			dispatches = g.embedder.Plan.Dispatches
			patches := min(m.Config.Vision.Patches(), size)
			step[vlm.SlotPatches], step[vlm.SlotQuarters], step[vlm.SlotOthers] = uint32(patches), uint32(4*patches), uint32(size-patches)
		}
	}
	g.cache.SetStep(&step, size-tokens, tokens)
	_, plan, err := g.planPass(tokens, density)
	if err != nil {
		return nil, step, err
	}
	return append(dispatches, plan.Dispatches...), step, nil
}
