package train

import (
	"context"
	"math"
	"time"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// StepShape is the static shape of a micro-batch.
type StepShape struct {
	Rows, Tokens int // B, T
	Images       int // capacity
}

// shapeFor returns the shape for rows of tokens, with capacity for as many images as fit into
// them.
func shapeFor(c vlm.Config, rows, tokens int) StepShape {
	images := tokens / max(1, c.Vision.Patches())
	if c.Vision.KeepsAspect() {
		images = max(1, images) // of the largest; the inputs hold as many patches as tokens
	}
	return StepShape{rows, tokens, rows * images}
}

// TrainStep holds the compiled programs of training: forward and backward of a step's first
// micro-batch and of further ones, the optimizer update, and evaluation.
type TrainStep struct {
	Shape StepShape
	// Recompute turns on activation checkpointing of every decoder layer. AttentionDensity is that
	// of nn.Options. Both must be set before the first step.
	Recompute        bool
	AttentionDensity float64

	// LossScale is used only if activations are stored in f16.
	LossScale LossScale

	reducer *reducer // sums the gradients of several ranks; nil = this is the only one

	model     *vlm.Model
	dev       engine.Device
	optimizer nn.AdamW
	in        *vlm.Inputs
	step      [shaders.StepWords]uint32
	arena     []engine.Memory // shared by the programs, which never use it at the same time
	programs  map[string]*stepProgram
	uploaded  *packing.Batch // the batch that the inputs hold for the next StartForwardBackward
	last      *packing.Batch // the last batch run, with its pixels, for NonFinite
	pixels    []byte
	tracing   bool
	traced    []TracedDispatch
}

// stepProgram is a compiled program with the tensors read after a run.
type stepProgram struct {
	parts []programPart // run one after another; one, unless gradients are reduced between them
	loss  nn.HeadLoss
	clip  *nn.Tensor
}

// exe returns the last part, whose arena has the program's temporaries.
func (p *stepProgram) exe() engine.Executable { return p.parts[len(p.parts)-1].exe }

// programPart is a part of a compiled program.
type programPart struct {
	exe        engine.Executable
	dispatches []engine.Dispatch
	final      []int // chunks of the gradients that are final after it
}

// NewTrainStep allocates the inputs. Programs are compiled and activations allocated on first use.
func NewTrainStep(m *vlm.Model, dev engine.Device, s StepShape, o nn.AdamW) (*TrainStep, error) {
	st := &TrainStep{Shape: s, model: m, dev: dev, optimizer: o, programs: map[string]*stepProgram{}}
	if m.Storage() == shaders.F16 {
		st.optimizer.ScaleSlot = vlm.SlotLoss
	}
	st.in = m.NewInputs(s.Rows, s.Tokens, s.Images, s.Tokens)
	if err := st.in.Allocate(dev); err != nil {
		st.in.Close()
		return nil, err
	}
	return st, nil
}

// planStep records and plans the forward pass of a micro-batch and, with o.Train, the backward
// pass.
func planStep(m *vlm.Model, in *vlm.Inputs, o nn.Options) (*engine.Plan, *stepProgram, error) {
	program, out, err := recordStep(m, in, o)
	if err != nil {
		return nil, nil, err
	}
	plan, err := m.Plan(program)
	return plan, out, err
}

func recordStep(m *vlm.Model, in *vlm.Inputs, o nn.Options) (*engine.Program, *stepProgram, error) {
	out := &stepProgram{}
	o.Params, o.Type = m.Params, m.Storage()
	program, err := nn.Record("step", o, func(g *nn.Graph) {
		out.loss = m.Loss(g, in, nil)
		g.Keep(out.loss.Sum)
		if !o.Train {
			g.Keep(out.loss.NLL)
			g.Keep(out.loss.ArgMax)
		}
	})
	return program, out, err
}

// planUpdate records the optimizer update. squares holds the sum of the squares of the gradients;
// without it, the update computes it.
func planUpdate(m *vlm.Model, o nn.AdamW, squares *engine.Buffer) (*engine.Plan, *stepProgram, error) {
	out := &stepProgram{}
	program, err := nn.Record("update", nn.Options{Params: m.Params, Train: true}, func(g *nn.Graph) {
		g.Program.SetLabel("optimizer")
		if squares != nil {
			out.clip = g.Keep(o.UpdateWith(g, squares.View(), adamSlot))
			return
		}
		out.clip = g.Keep(o.Update(g, adamSlot))
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := m.Plan(program)
	return plan, out, err
}

// adamGroups are the learning-rate groups with values of AdamW's in the step block.
var adamGroups = []string{vlm.GroupEmbedder, vlm.GroupDecoder, vlm.GroupExperts}

// adamSlot returns the step block entry with AdamW's values of a learning-rate group. Adapters have
// the decoder's.
func adamSlot(group string) int {
	switch group {
	case vlm.GroupEmbedder:
		return vlm.SlotAdam
	case vlm.GroupExperts:
		return vlm.SlotAdam + 6
	}
	return vlm.SlotAdam + 3
}

// Keys of TrainStep.programs.
const (
	programFirst    = "first"   // gradients overwrite those of the last step
	programFurther  = "further" // gradients are accumulated
	programUpdate   = "update"
	programEvaluate = "evaluate"
)

func (s *TrainStep) plan(key string) (*engine.Plan, *stepProgram, error) {
	switch key {
	case programUpdate:
		var squares *engine.Buffer
		if s.reducer != nil {
			squares = s.reducer.squares
		}
		return planUpdate(s.model, s.optimizer, squares)
	case programEvaluate:
		return planStep(s.model, s.in, nn.Options{AttentionDensity: s.AttentionDensity, NoFusion: s.noFusion()})
	}
	return planStep(s.model, s.in, nn.Options{
		Train: true, Accumulate: key == programFurther, Recompute: s.Recompute, AttentionDensity: s.AttentionDensity, NoFusion: s.noFusion(),
	})
}

// noFusion returns nn.Options.NoFusion for the device, see vlm.NoFusionOn. Without a device,
// programs are planned as for a GPU.
func (s *TrainStep) noFusion() bool { return s.dev != nil && vlm.NoFusionOn(s.dev.Info().Kind) }

// program returns a compiled program; it compiles it on first use.
func (s *TrainStep) program(ctx context.Context, key string) (*stepProgram, error) {
	if err := s.model.Params.SyncHalf(ctx, s.dev); err != nil {
		return nil, err
	}
	if p := s.programs[key]; p != nil {
		return p, nil
	}
	if err := s.allocateArena(); err != nil {
		return nil, err
	}
	planned, p, err := s.plan(key)
	if err != nil {
		return nil, err
	}
	parts := []cutPlan{{Plan: planned}}
	if s.reducer != nil && (key == programFirst || key == programFurther) {
		parts = s.reducer.cut(planned)
	}
	for _, part := range parts {
		exe, err := s.dev.Compile(part.Plan, s.arena)
		if err != nil {
			p.free()
			return nil, err
		}
		p.parts = append(p.parts, programPart{exe, part.Dispatches, part.final})
	}
	s.programs[key] = p
	return p, nil
}

func (p *stepProgram) free() {
	for _, part := range p.parts {
		part.exe.Free()
	}
}

// allocateArena allocates the shared arena, large enough for each of the programs.
func (s *TrainStep) allocateArena() error {
	if s.arena != nil {
		return nil
	}
	var arena engine.Segments
	for _, key := range []string{programEvaluate, programFirst, programFurther, programUpdate} {
		planned, _, err := s.plan(key)
		if err != nil {
			return err
		}
		arena = arena.Max(planned.Arena)
	}
	var err error
	s.arena, err = engine.AllocateSegments(s.dev, "activations", arena)
	return err
}

// MicroBatch is a micro-batch of a step.
type MicroBatch struct {
	*packing.Batch
	Pixels      []byte
	Scale       float64 // 1 over the targets of the whole step
	First, Last bool    // of the step's
}

// StartForwardBackward starts forward and backward of a micro-batch. The summed loss, in nats, is
// in sum after Update has returned. With several ranks the gradients are reduced during the last
// micro-batch's backward pass.
func (s *TrainStep) StartForwardBackward(ctx context.Context, b MicroBatch, sum *[1]float32) error {
	key := programFirst
	if !b.First {
		key = programFurther
	}
	p, err := s.program(ctx, key)
	if err != nil {
		return err
	}
	if s.uploaded != b.Batch {
		if err := s.Upload(b.Batch, b.Pixels); err != nil {
			return err
		}
	}
	s.uploaded, s.last, s.pixels = nil, b.Batch, b.Pixels
	s.step[vlm.SlotScale] = math.Float32bits(float32(b.Scale * s.LossScale.factor(s.model)))
	if s.reducer != nil && b.Last {
		err = s.reducer.run(len(p.parts), func(i int) error { return s.executePart(ctx, &p.parts[i]) }, func(i int) []int { return p.parts[i].final })
	} else {
		err = s.execute(ctx, p)
	}
	if err != nil {
		return err
	}
	return engine.FetchTemp(s.dev, p.exe(), p.loss.Sum.View(), sum[:])
}

// Upload queues the upload of a micro-batch for the next StartForwardBackward.
func (s *TrainStep) Upload(b *packing.Batch, pixels []byte) error {
	s.uploaded = nil
	if _, err := s.in.Upload(s.dev, b, pixels, &s.step); err != nil {
		return err
	}
	s.uploaded = b
	return nil
}

// NonFinite runs the last micro-batch again with all tensors kept and describes the first that is
// not finite, in parentheses. It returns "" if there is none or memory does not suffice.
func (s *TrainStep) NonFinite(ctx context.Context) string {
	defer func() { s.uploaded = nil }()
	if s.last == nil || s.Upload(s.last, s.pixels) != nil { // the inputs may hold the next batch
		return ""
	}
	planned, _, err := s.plan(programFirst)
	if err != nil {
		return ""
	}
	f, err := engine.FindNonFinite(ctx, s.dev, planned.Program, &s.step)
	if err != nil || f == nil {
		return ""
	}
	return " (" + f.String() + ")"
}

// Freeze freezes or unfreezes the decoder and its adapters: frozen parameters have no gradients and are not
// updated. Programs are compiled again on next use.
func (s *TrainStep) Freeze(decoder bool) {
	s.FreePrograms()
	if decoder {
		s.model.Params.Freeze(vlm.GroupDecoder, vlm.GroupAdapter)
	} else {
		s.model.Params.Freeze()
	}
}

// Close releases the programs and the inputs.
func (s *TrainStep) Close() {
	s.FreePrograms()
	s.in.Close()
	s.reducer.close()
}

// FreePrograms releases the programs and the arena; the next use compiles and allocates them
// again.
func (s *TrainStep) FreePrograms() {
	for _, p := range s.programs {
		p.free()
	}
	clear(s.programs)
	engine.Free(s.arena)
	s.arena = nil
}

// Rate returns a group's learning rate, and t, the number of the group's optimizer step, from 1.
type Rate func(group string) (lr float64, t int)

// Update takes an optimizer step and returns the gradient norm before clipping. meanwhile, unless
// nil, is called while the device runs. With several ranks, squares is the sum of the squares of
// the reduced gradients.
func (s *TrainStep) Update(ctx context.Context, rate Rate, squares float64, meanwhile func() error) (norm float64, err error) {
	p, err := s.program(ctx, programUpdate)
	if err != nil {
		return 0, err
	}
	for _, group := range adamGroups {
		lr, t := rate(group)
		s.optimizer.Set(&s.step, adamSlot(group), lr, max(t, 1))
	}
	s.step[vlm.SlotLoss] = math.Float32bits(float32(s.LossScale.factor(s.model)))
	if s.reducer != nil {
		if err := s.reducer.setSquares(squares); err != nil {
			return 0, err
		}
	}
	if err := s.execute(ctx, p); err != nil {
		return 0, err
	}
	if meanwhile != nil {
		if err := meanwhile(); err != nil {
			return 0, err
		}
	}
	var clip [2]float32 // downloading it waits for the device, so the losses are there too
	if err := engine.DownloadTemp(s.dev, p.exe(), p.clip.View(), clip[:]); err != nil {
		return 0, err
	}
	norm = float64(clip[0])
	if s.reducer != nil && finite(norm) {
		err = s.reducer.gatherWeights()
	}
	return norm, err
}

// Evaluate runs the forward pass and returns, for every target in order, the negative
// log-likelihood in nats and the argmax of the logits.
func (s *TrainStep) Evaluate(ctx context.Context, b *packing.Batch, pixels []byte) (nll []float32, argmax []int32, err error) {
	p, err := s.program(ctx, programEvaluate)
	if err != nil {
		return nil, nil, err
	}
	s.uploaded = nil
	n, err := s.in.Upload(s.dev, b, pixels, &s.step)
	if err != nil || n == 0 {
		return nil, nil, err
	}
	if err := s.execute(ctx, p); err != nil {
		return nil, nil, err
	}
	nll, argmax = make([]float32, n), make([]int32, n)
	if err := engine.DownloadTemp(s.dev, p.exe(), p.loss.NLL.View(), nll); err != nil {
		return nil, nil, err
	}
	return nll, argmax, engine.DownloadTemp(s.dev, p.exe(), p.loss.ArgMax.View(), argmax)
}

// TracedDispatch is one timed dispatch of a step.
type TracedDispatch struct {
	engine.Dispatch
	engine.Timing
	Work shaders.Cost // FLOPs and bytes with this step's data
}

// StartTrace makes every program run with timestamps until StopTrace is called.
func (s *TrainStep) StartTrace() { s.tracing, s.traced = true, nil }

// StopTrace ends tracing and returns the dispatches of all programs run since StartTrace.
func (s *TrainStep) StopTrace() []TracedDispatch {
	s.tracing = false
	return s.traced
}

func (s *TrainStep) execute(ctx context.Context, p *stepProgram) error {
	for i := range p.parts {
		if err := s.executePart(ctx, &p.parts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *TrainStep) executePart(ctx context.Context, p *programPart) error {
	if !s.tracing {
		return engine.Start(ctx, p.exe, &s.step)
	}
	timings, err := p.exe.Profile(ctx, &s.step)
	var start time.Duration
	if n := len(s.traced); n > 0 {
		start = s.traced[n-1].Start + s.traced[n-1].Duration
	}
	for _, t := range timings {
		t.Start += start
		d := p.dispatches[t.Dispatch]
		s.traced = append(s.traced, TracedDispatch{d, t, d.Cost(s.step[:])})
	}
	return err
}

// HostTime returns the time that the last micro-batch and the last update spent outside the
// device.
func (s *TrainStep) HostTime() time.Duration {
	var d time.Duration
	for _, key := range []string{programFirst, programUpdate} {
		if p := s.programs[key]; p != nil {
			for _, part := range p.parts {
				d += part.exe.HostTime()
			}
		}
	}
	return d
}
