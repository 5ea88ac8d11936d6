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
	return StepShape{rows, tokens, rows * (tokens / max(1, c.Vision.Patches()))}
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
	exe        engine.Executable
	dispatches []engine.Dispatch
	loss       nn.HeadLoss
	clip       *nn.Tensor
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

// planUpdate records the optimizer update.
func planUpdate(m *vlm.Model, o nn.AdamW) (*engine.Plan, *stepProgram, error) {
	out := &stepProgram{}
	program, err := nn.Record("update", nn.Options{Params: m.Params, Train: true}, func(g *nn.Graph) {
		g.Program.SetLabel("optimizer")
		out.clip = g.Keep(o.Update(g, adamSlot))
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := m.Plan(program)
	return plan, out, err
}

// adamSlot returns the step block entry with AdamW's values of a learning-rate group.
func adamSlot(group string) int {
	if group == vlm.GroupEmbedder {
		return vlm.SlotAdam
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
		return planUpdate(s.model, s.optimizer)
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
	if p.exe, err = s.dev.Compile(planned, s.arena); err != nil {
		return nil, err
	}
	p.dispatches = planned.Dispatches
	s.programs[key] = p
	return p, nil
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

// StartForwardBackward starts forward and backward of a micro-batch. scale is 1 over the targets of
// all accumulated micro-batches; first reports whether this is the first of them. The summed loss,
// in nats, is in sum after Update has returned.
func (s *TrainStep) StartForwardBackward(ctx context.Context, b *packing.Batch, pixels []byte, scale float64, first bool, sum *[1]float32) error {
	key := programFirst
	if !first {
		key = programFurther
	}
	p, err := s.program(ctx, key)
	if err != nil {
		return err
	}
	if s.uploaded != b {
		if err := s.Upload(b, pixels); err != nil {
			return err
		}
	}
	s.uploaded, s.last, s.pixels = nil, b, pixels
	s.step[vlm.SlotScale] = math.Float32bits(float32(scale * s.LossScale.factor(s.model)))
	if err := s.execute(ctx, p); err != nil {
		return err
	}
	return engine.FetchTemp(s.dev, p.exe, p.loss.Sum.View(), sum[:])
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

// Freeze freezes or unfreezes the decoder: frozen parameters have no gradients and are not
// updated. Programs are compiled again on next use.
func (s *TrainStep) Freeze(decoder bool) {
	s.FreePrograms()
	if decoder {
		s.model.Params.Freeze(vlm.GroupDecoder)
	} else {
		s.model.Params.Freeze()
	}
}

// Close releases the programs and the inputs.
func (s *TrainStep) Close() {
	s.FreePrograms()
	s.in.Close()
}

// FreePrograms releases the programs and the arena; the next use compiles and allocates them
// again.
func (s *TrainStep) FreePrograms() {
	for _, p := range s.programs {
		p.exe.Free()
	}
	clear(s.programs)
	engine.Free(s.arena)
	s.arena = nil
}

// Rate returns a group's learning rate, and t, the number of the group's optimizer step, from 1.
type Rate func(group string) (lr float64, t int)

// Update takes an optimizer step and returns the gradient norm before clipping. meanwhile, unless
// nil, is called while the device runs.
func (s *TrainStep) Update(ctx context.Context, rate Rate, meanwhile func() error) (norm float64, err error) {
	p, err := s.program(ctx, programUpdate)
	if err != nil {
		return 0, err
	}
	for _, group := range []string{vlm.GroupEmbedder, vlm.GroupDecoder} {
		lr, t := rate(group)
		s.optimizer.Set(&s.step, adamSlot(group), lr, max(t, 1))
	}
	s.step[vlm.SlotLoss] = math.Float32bits(float32(s.LossScale.factor(s.model)))
	if err := s.execute(ctx, p); err != nil {
		return 0, err
	}
	if meanwhile != nil {
		if err := meanwhile(); err != nil {
			return 0, err
		}
	}
	var clip [2]float32 // downloading it waits for the device, so the losses are there too
	err = engine.DownloadTemp(s.dev, p.exe, p.clip.View(), clip[:])
	return float64(clip[0]), err
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
	if err := engine.DownloadTemp(s.dev, p.exe, p.loss.NLL.View(), nll); err != nil {
		return nil, nil, err
	}
	return nll, argmax, engine.DownloadTemp(s.dev, p.exe, p.loss.ArgMax.View(), argmax)
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
			d += p.exe.HostTime()
		}
	}
	return d
}
