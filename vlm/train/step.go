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

// StepShape is the static size of a training step.
type StepShape struct {
	Rows, Tokens int // B, T of a micro-batch
	Pictures     int // room for so many in a micro-batch
}

// shapeFor is the step for rows of tokens, with room for as many pictures as
// the tokens can hold.
func shapeFor(c vlm.Config, rows, tokens int) StepShape {
	return StepShape{rows, tokens, rows * (tokens / max(1, c.Vision.Patches()))}
}

// TrainStep holds the programs of training over one set of parameters: forward
// and backward of a first micro-batch, of a further one, and the update.
type TrainStep struct {
	Shape StepShape
	// Recompute trades time for memory: every decoder layer is computed again for
	// its gradients. Visible is nn.Options'. Both are set before the first step.
	Recompute bool
	Visible   float64

	// LossScale is what f16's gradients are multiplied by on their way.
	LossScale LossScale

	model     *vlm.Model
	dev       engine.Device
	optimizer nn.AdamW
	in        *vlm.Inputs
	step      [shaders.StepWords]uint32
	arena     []engine.Memory // shared by the programs: none needs another's temporaries
	programs  map[string]*stepProgram
	uploaded  *packing.Batch // that the inputs hold for the next Begin
	last      *packing.Batch // that was begun, with its pictures
	pixels    []byte
	tracing   bool
	traced    []Traced
}

// stepProgram is a compiled program with what is read after it.
type stepProgram struct {
	exe        engine.Executable
	dispatches []engine.Dispatch
	loss       nn.HeadLoss
	clip       *nn.Tensor
}

// NewTrainStep describes the programs and allocates everything but activations,
// which the first use of a program does.
func NewTrainStep(m *vlm.Model, dev engine.Device, s StepShape, o nn.AdamW) (*TrainStep, error) {
	st := &TrainStep{Shape: s, model: m, dev: dev, optimizer: o, programs: map[string]*stepProgram{}}
	if m.Storage() == shaders.F16 {
		st.optimizer.ScaleSlot = vlm.SlotLoss
	}
	st.in = m.NewInputs(s.Rows, s.Tokens, s.Pictures, s.Tokens)
	if err := st.in.Allocate(dev); err != nil {
		st.in.Close()
		return nil, err
	}
	return st, nil
}

// planStep records the forward pass of one micro-batch and, with Train, the
// backward pass.
func planStep(m *vlm.Model, in *vlm.Inputs, o nn.Options) (*engine.Plan, *stepProgram, error) {
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
	if err != nil {
		return nil, nil, err
	}
	plan, err := m.Plan(program)
	return plan, out, err
}

// planUpdate records the optimiser's step.
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

// adamSlot is where the step block holds a learning-rate group's numbers.
func adamSlot(group string) int {
	if group == vlm.GroupEmbedder {
		return vlm.SlotAdam
	}
	return vlm.SlotAdam + 3
}

// Names of a stepper's programs.
const (
	programFirst    = "first"   // of a step: its gradients replace what was there
	programFurther  = "further" // its gradients are added
	programUpdate   = "update"
	programEvaluate = "evaluate"
)

func (s *TrainStep) plan(key string) (*engine.Plan, *stepProgram, error) {
	switch key {
	case programUpdate:
		return planUpdate(s.model, s.optimizer)
	case programEvaluate:
		return planStep(s.model, s.in, nn.Options{AttentionDensity: s.Visible, NoFusion: s.apart()})
	}
	return planStep(s.model, s.in, nn.Options{
		Train: true, Accumulate: key == programFurther, Recompute: s.Recompute, AttentionDensity: s.Visible, NoFusion: s.apart(),
	})
}

// apart is nn.Options' NoFusion. On the CPU a dispatch costs next to nothing, and matmuls read
// the rows of fused layers slower: those of gate and up together are whole pages apart.
// Plans that no device runs are those of GPUs.
func (s *TrainStep) apart() bool { return s.dev != nil && vlm.NoFusionOn(s.dev.Info().Kind) }

func (s *TrainStep) compiled(ctx context.Context, key string) (*stepProgram, error) {
	if err := s.model.Params.SyncHalf(ctx, s.dev); err != nil {
		return nil, err
	}
	if p := s.programs[key]; p != nil {
		return p, nil
	}
	if err := s.reserve(); err != nil {
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

// reserve allocates the arena, with room for each of the programs.
func (s *TrainStep) reserve() error {
	if s.arena != nil {
		return nil
	}
	var room engine.Segments
	for _, key := range []string{programEvaluate, programFirst, programFurther, programUpdate} {
		planned, _, err := s.plan(key)
		if err != nil {
			return err
		}
		room = room.Max(planned.Arena)
	}
	var err error
	s.arena, err = engine.AllocateSegments(s.dev, "activations", room)
	return err
}

// Backward runs the forward and backward pass of a micro-batch and returns its
// summed loss and its number of targets. scale is one over the targets of all
// micro-batches that are accumulated; first says that this one starts anew.
func (s *TrainStep) Backward(ctx context.Context, b *packing.Batch, pixels []byte, scale float64, first bool) (sum float64, targets int, err error) {
	var loss [1]float32
	if err := s.StartForwardBackward(ctx, b, pixels, scale, first, &loss); err != nil {
		return 0, 0, err
	}
	// Reading anything waits for all that was asked for.
	key := programFirst
	if !first {
		key = programFurther
	}
	p := s.programs[key]
	err = engine.DownloadTemp(s.dev, p.exe, p.loss.Sum.View(), loss[:])
	return float64(loss[0]), int(s.step[vlm.SlotTargets]), err
}

// StartForwardBackward is Backward without the waiting, where the device works while the host goes
// on: the summed loss is in sum once Update has returned.
func (s *TrainStep) StartForwardBackward(ctx context.Context, b *packing.Batch, pixels []byte, scale float64, first bool, sum *[1]float32) error {
	key := programFirst
	if !first {
		key = programFurther
	}
	p, err := s.compiled(ctx, key)
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

// Upload uploads a micro-batch for the next Begin or Backward, behind all that the
// device still has to do.
func (s *TrainStep) Upload(b *packing.Batch, pixels []byte) error {
	s.uploaded = nil
	if _, err := s.in.Upload(s.dev, b, pixels, &s.step); err != nil {
		return err
	}
	s.uploaded = b
	return nil
}

// NonFinite runs the last micro-batch again with all tensors kept and says which is the
// first that is not finite; "" where none is, or there is no memory to look.
func (s *TrainStep) NonFinite(ctx context.Context) string {
	defer func() { s.uploaded = nil }()
	if s.last == nil || s.Upload(s.last, s.pixels) != nil { // the next one may lie in the inputs
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

// Freeze chooses the stage: with true the decoder takes no gradients and no
// updates. It is called between steps.
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

// Free releases the programs; the next use compiles them anew.
func (s *TrainStep) FreePrograms() {
	for _, p := range s.programs {
		p.exe.Free()
	}
	clear(s.programs)
	engine.Free(s.arena)
	s.arena = nil
}

// Rate is a group's learning rate in a step, and the step's number in the
// group's own count, from 1.
type Rate func(group string) (lr float64, t int)

// Update takes an optimiser step and returns the norm of the gradients before
// clipping. meanwhile, if there is one, is called while the device works.
func (s *TrainStep) Update(ctx context.Context, rate Rate, meanwhile func() error) (norm float64, err error) {
	p, err := s.compiled(ctx, programUpdate)
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
	var clip [2]float32 // to read it is to wait, for the losses too
	err = engine.DownloadTemp(s.dev, p.exe, p.clip.View(), clip[:])
	return float64(clip[0]), err
}

// Evaluate runs the forward pass and returns, for every target in order, its
// negative log-likelihood in nats and the likeliest id in its place.
func (s *TrainStep) Evaluate(ctx context.Context, b *packing.Batch, pixels []byte) (nll []float32, best []int32, err error) {
	p, err := s.compiled(ctx, programEvaluate)
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
	nll, best = make([]float32, n), make([]int32, n)
	if err := engine.DownloadTemp(s.dev, p.exe, p.loss.NLL.View(), nll); err != nil {
		return nil, nil, err
	}
	return nll, best, engine.DownloadTemp(s.dev, p.exe, p.loss.ArgMax.View(), best)
}

// Traced is one measured dispatch of a step.
type Traced struct {
	engine.Dispatch
	engine.Timing
	Work shaders.Cost // of this step's data
}

// Trace makes the programs that run from here on be measured, until Traced is
// called.
func (s *TrainStep) Trace() { s.tracing, s.traced = true, nil }

// Traced ends measuring and returns what was measured, one program after another.
func (s *TrainStep) Traced() []Traced {
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
		s.traced = append(s.traced, Traced{d, t, d.Cost(s.step[:])})
	}
	return err
}

// HostTime is the time that the last micro-batch and the last update spent
// outside the device.
func (s *TrainStep) HostTime() time.Duration {
	var d time.Duration
	for _, key := range []string{programFirst, programUpdate} {
		if p := s.programs[key]; p != nil {
			d += p.exe.HostTime()
		}
	}
	return d
}
