package generate

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
)

// InferBench measures generation: a prompt of random tokens, starting with an image if one fits,
// and the tokens generated after it.
type InferBench struct {
	Images      int
	WeightBytes int64 // weights read per generated token

	generator *Generator
	prompt    sequence
	ids       *rand.Rand
}

// NewInferBench prepares a prompt for a model on its device.
func NewInferBench(runner *vlm.Runner, prompt, tokens int) (*InferBench, error) {
	t, v := runner.Config.Text, runner.Config.Vision
	if prompt+tokens > t.MaxPositionEmbeddings {
		return nil, &ContextError{prompt, tokens, t.MaxPositionEmbeddings}
	}
	b := &InferBench{generator: New(runner), ids: rand.New(rand.NewPCG(1, 1))}
	for range prompt {
		b.prompt.ids = append(b.prompt.ids, b.id())
	}
	if v.PatchSize > 0 && v.Patches() < prompt {
		b.Images = 1
		b.prompt.images, b.prompt.grids = []int{0}, []chat.Grid{v.SquareGrid()}
		b.prompt.pixels = [][]byte{make([]byte, v.SquareGrid().Tokens()*v.Features())}
		for i := range b.prompt.pixels[0] {
			b.prompt.pixels[0][i] = byte(b.ids.Uint32())
		}
	}
	b.WeightBytes = runner.DecodeBytes()
	return b, b.generator.reserveCache(context.Background(), prompt+tokens)
}

func (b *InferBench) id() int32 {
	return int32(b.ids.IntN(b.generator.Config.Text.VocabSize - 1))
}

// Prefill runs the whole prompt through the model, without cached tokens, and chooses the first
// token. The first call includes compilation.
func (b *InferBench) Prefill(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	b.generator.cached = sequence{}
	p, _, err := b.generator.prefill(ctx, b.prompt)
	if err == nil {
		_, err = b.generator.nextToken(p, nil, len(b.prompt.ids))
	}
	return time.Since(start), err
}

// Decode generates one more token, greedily.
func (b *InferBench) Decode(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	p, err := b.generator.decode(ctx, b.id())
	if err == nil {
		_, err = b.generator.nextToken(p, nil, len(b.prompt.ids))
	}
	return time.Since(start), err
}

// Close releases the memory of the bench, but not the model.
func (b *InferBench) Close() { b.generator.Close() }

// EmbedderBench measures the image embedder on batches of random pixels.
type EmbedderBench struct {
	Flops float64 // per batch

	embedder *vlm.ImageEmbedder
	vectors  *vlm.Vectors
	dev      engine.Device
	grids    []chat.Grid
	pixels   []byte
}

// NewEmbedderBench compiles the embedder and the connector for a batch.
func NewEmbedderBench(runner *vlm.Runner, batch int) (*EmbedderBench, error) {
	v := runner.Config.Vision
	if v.None() {
		return nil, errors.New("the model has no images to embed")
	}
	vectors := vlm.PlanVectors(runner.Model, batch*v.Patches())
	if err := vectors.Allocate(runner.Device); err != nil {
		return nil, err
	}
	e, err := vlm.NewImageEmbedder(runner.Model, runner.Device, batch, vectors)
	if err != nil {
		vectors.Close()
		return nil, err
	}
	b := &EmbedderBench{embedder: e, vectors: vectors, dev: runner.Device, grids: slices.Repeat([]chat.Grid{v.SquareGrid()}, batch), pixels: make([]byte, batch*v.SquareGrid().Tokens()*v.Features())}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range b.pixels {
		b.pixels[i] = byte(random.Uint32())
	}
	b.Flops = e.Plan.Flops(e.Step[:])
	return b, nil
}

// Close releases the embedder, but not the model.
func (b *EmbedderBench) Close() {
	b.embedder.Close()
	b.vectors.Close()
}

// Step encodes the batch; the vectors stay on the device.
func (b *EmbedderBench) Step(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := b.embedder.Encode(ctx, b.dev, b.pixels, b.grids, 0)
	return time.Since(start), err
}

// copyBytes is the number of bytes that CopyBandwidth reads and writes: more than the caches of
// any GPU and most CPUs.
const copyBytes = 512 << 20

// CopyBandwidth measures the bytes per second that the device reads and writes in a copy, an upper
// bound for reading weights.
func CopyBandwidth(ctx context.Context, dev engine.Device) (float64, error) {
	from, to := engine.NewBuffer("from", copyBytes/2), engine.NewBuffer("to", copyBytes/2)
	memories, err := engine.Allocate(dev, "copy", from, to)
	if err != nil {
		return 0, err
	}
	defer engine.Free(memories)
	program := engine.NewProgram("copy")
	const part = 32 << 20 // within the binding limit of every device
	for at := int64(0); at < copyBytes/2; at += part {
		program.Dispatch(shaders.AppendRows, shaders.AppendRowsParams{Rows: shaders.N(1), Cols: part / 4}, from.View().Slice(at, part), to.View().Slice(at, part))
	}
	plan, err := engine.NewPlan(program, 0)
	if err != nil {
		return 0, err
	}
	exe, err := dev.Compile(plan, nil)
	if err != nil {
		return 0, err
	}
	defer exe.Free()
	best := time.Duration(1 << 62)
	for range 4 {
		start := time.Now()
		if err := exe.Run(ctx, &[shaders.StepWords]uint32{}); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	return copyBytes / best.Seconds(), nil
}
