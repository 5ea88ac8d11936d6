package generate

import (
	"context"
	"math/rand/v2"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm"
)

// InferBench is a prompt of random tokens, which a picture opens where there is
// room for one, and tokens generated behind it.
type InferBench struct {
	Pictures    int
	WeightBytes int64 // that generating a token reads

	generator *Generator
	prompt    sequence
	ids       *rand.Rand
}

// NewInferBench prepares a prompt for a model on its device.
func NewInferBench(l *vlm.Runner, prompt, tokens int) (*InferBench, error) {
	t, v := l.Config.Text, l.Config.Vision
	if prompt+tokens > t.MaxPositionEmbeddings {
		return nil, &ContextError{prompt, tokens, t.MaxPositionEmbeddings}
	}
	b := &InferBench{generator: New(l), ids: rand.New(rand.NewPCG(1, 1))}
	for range prompt {
		b.prompt.ids = append(b.prompt.ids, b.id())
	}
	if v.PatchSize > 0 && v.Patches() < prompt {
		b.Pictures = 1
		b.prompt.images = []int{0}
		b.prompt.pictures = [][]byte{make([]byte, v.ImageSize*v.ImageSize*v.NumChannels)}
		for i := range b.prompt.pictures[0] {
			b.prompt.pictures[0][i] = byte(b.ids.Uint32())
		}
	}
	b.WeightBytes = l.DecodeBytes()
	return b, b.generator.reserve(context.Background(), prompt+tokens)
}

func (b *InferBench) id() int32 {
	return int32(b.ids.IntN(b.generator.Config.Text.VocabSize - 1))
}

// First takes the whole prompt through the model, as if it were new, to the first
// token. The first call compiles the programs as well.
func (b *InferBench) First(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	b.generator.held = sequence{}
	p, _, err := b.generator.prefill(ctx, b.prompt)
	if err == nil {
		_, err = b.generator.choose(p, nil, len(b.prompt.ids))
	}
	return time.Since(start), err
}

// Next generates one more token, the likeliest.
func (b *InferBench) Next(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	p, err := b.generator.decode(ctx, b.id())
	if err == nil {
		_, err = b.generator.choose(p, nil, len(b.prompt.ids))
	}
	return time.Since(start), err
}

// Free releases what the bench holds, but not the model.
func (b *InferBench) Close() { b.generator.Close() }

// EmbedderBench embeds pictures of random pixels, many at a time.
type EmbedderBench struct {
	Flops float64 // of a batch

	embedder *vlm.ImageEmbedder
	dev      engine.Device
	pixels   []byte
}

// NewEmbedderBench compiles the embedder and the connector for a batch.
func NewEmbedderBench(l *vlm.Runner, batch int) (*EmbedderBench, error) {
	v := l.Config.Vision
	e, err := vlm.NewImageEmbedder(l.Model, l.Device, batch, batch)
	if err != nil {
		return nil, err
	}
	b := &EmbedderBench{embedder: e, dev: l.Device, pixels: make([]byte, batch*v.ImageSize*v.ImageSize*v.NumChannels)}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range b.pixels {
		b.pixels[i] = byte(random.Uint32())
	}
	b.Flops = e.Plan.Flops(e.Step[:])
	return b, nil
}

// Close releases the embedder, but not the model.
func (b *EmbedderBench) Close() { b.embedder.Close() }

// Step embeds the batch, pixels in, vectors left on the device.
func (b *EmbedderBench) Step(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := b.embedder.Encode(ctx, b.dev, b.pixels, 0, 0)
	return time.Since(start), err
}

// copyBytes is the size of what CopyBandwidth copies: beyond any cache that
// a GPU has, and most that processors have.
const copyBytes = 512 << 20

// CopyBandwidth measures how many bytes a second the device reads and writes when
// it copies, which bounds everything that streams weights.
func CopyBandwidth(ctx context.Context, dev engine.Device) (float64, error) {
	from, to := engine.NewBuffer("from", copyBytes/2), engine.NewBuffer("to", copyBytes/2)
	memories, err := engine.Allocate(dev, "copy", from, to)
	if err != nil {
		return 0, err
	}
	defer engine.Free(memories)
	program := engine.NewProgram("copy")
	const part = 32 << 20 // within every device's bindings
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
