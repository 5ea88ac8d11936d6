package vlm

import (
	"context"
	"math"
	"time"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/batch"
)

// StepShape is the static size of a training step.
type StepShape struct {
	Rows, Tokens int // B, T of a micro-batch
	Pictures     int // room for so many in a micro-batch
}

// shapeFor is the step for rows of tokens, with room for as many pictures as
// the tokens can hold.
func shapeFor(c Config, rows, tokens int) StepShape {
	return StepShape{rows, tokens, rows * (tokens / max(1, c.Vision.Patches()))}
}

// Stepper holds the programs of training over one set of parameters: forward
// and backward of a first micro-batch, of a further one, and the update.
type Stepper struct {
	Shape StepShape

	model     *Model
	dev       engine.Device
	optimizer nn.AdamW
	in        *Inputs
	step      [shaders.StepWords]uint32
	arena     engine.Memory // of the first program, shared by those that fit
	owner     string        // the program that it belongs to
	programs  map[string]*stepProgram
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

// NewStepper describes the programs and allocates everything but activations,
// which the first use of a program does.
func NewStepper(m *Model, dev engine.Device, s StepShape, o nn.AdamW) (*Stepper, error) {
	st := &Stepper{Shape: s, model: m, dev: dev, optimizer: o, programs: map[string]*stepProgram{}}
	st.in = m.newInputs(s.Rows, s.Tokens, s.Pictures, s.Tokens)
	if err := st.in.allocate(dev); err != nil {
		return nil, err
	}
	return st, nil
}

// planStep records the forward and backward pass of one micro-batch.
func planStep(m *Model, in *Inputs, train, accumulate bool) (*engine.Plan, *stepProgram, error) {
	out := &stepProgram{}
	program, err := nn.Record("step", nn.Options{Params: m.Params, Train: train, Accumulate: accumulate}, func(g *nn.Graph) {
		out.loss = m.loss(g, in, nil)
		g.Keep(out.loss.Sum)
		if !train {
			g.Keep(out.loss.NLL)
			g.Keep(out.loss.Best)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := engine.NewPlan(program)
	return plan, out, err
}

// planUpdate records the optimiser's step.
func planUpdate(m *Model, o nn.AdamW) (*engine.Plan, *stepProgram, error) {
	out := &stepProgram{}
	program, err := nn.Record("update", nn.Options{Params: m.Params, Train: true}, func(g *nn.Graph) {
		g.Program.SetLabel("optimizer")
		out.clip = g.Keep(o.Update(g, adamSlot))
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := engine.NewPlan(program)
	return plan, out, err
}

// adamSlot is where the step block holds a learning-rate group's numbers.
func adamSlot(group string) int {
	if group == GroupEmbedder {
		return slotAdam
	}
	return slotAdam + 3
}

func (s *Stepper) compiled(key string, plan func() (*engine.Plan, *stepProgram, error)) (*stepProgram, error) {
	if p := s.programs[key]; p != nil {
		return p, nil
	}
	planned, p, err := plan()
	if err != nil {
		return nil, err
	}
	// Programs share one arena: none needs another's temporaries. The step's is
	// the largest and comes first.
	var arena engine.Memory
	if s.arena != nil && s.arena.Size() >= planned.Arena {
		arena = s.arena
	}
	if p.exe, err = s.dev.Compile(planned, arena); err != nil {
		return nil, err
	}
	p.dispatches = planned.Dispatches
	if s.arena == nil {
		s.arena, s.owner = p.exe.Arena(), key
	}
	s.programs[key] = p
	return p, nil
}

// Backward runs the forward and backward pass of a micro-batch and returns its
// summed loss and its number of targets. scale is one over the targets of all
// micro-batches that are accumulated; first says that this one starts anew.
func (s *Stepper) Backward(ctx context.Context, b *batch.Batch, pixels []byte, scale float64, first bool) (sum float64, targets int, err error) {
	key := "first"
	if !first {
		key = "further"
	}
	p, err := s.compiled(key, func() (*engine.Plan, *stepProgram, error) { return planStep(s.model, s.in, true, !first) })
	if err != nil {
		return 0, 0, err
	}
	targets, err = s.in.upload(s.dev, b, pixels, &s.step)
	if err != nil {
		return 0, 0, err
	}
	s.step[slotScale] = math.Float32bits(float32(scale))
	if err := s.execute(ctx, p); err != nil {
		return 0, 0, err
	}
	var loss [1]float32
	err = engine.DownloadTemp(s.dev, p.exe, p.loss.Sum.View(), loss[:])
	return float64(loss[0]), targets, err
}

// Freeze chooses the stage: with true the decoder takes no gradients and no
// updates. It is called between steps.
func (s *Stepper) Freeze(decoder bool) {
	s.Free()
	if decoder {
		s.model.Params.Freeze(GroupDecoder)
	} else {
		s.model.Params.Freeze()
	}
}

// Close releases the programs and the inputs.
func (s *Stepper) Close() {
	s.Free()
	s.in.free()
}

// adamless is no optimiser, for steppers that only evaluate.
var adamless nn.AdamW

// Free releases the programs; the next use compiles them anew.
func (s *Stepper) Free() {
	for key, p := range s.programs {
		if key != s.owner {
			p.exe.Free()
		}
	}
	if p := s.programs[s.owner]; p != nil {
		p.exe.Free()
	}
	clear(s.programs)
	s.arena, s.owner = nil, ""
}

// Rate is a group's learning rate in a step, and the step's number in the
// group's own count, from 1.
type Rate func(group string) (lr float64, t int)

// Update takes an optimiser step and returns the norm of the gradients before
// clipping.
func (s *Stepper) Update(ctx context.Context, rate Rate) (norm float64, err error) {
	p, err := s.compiled("update", func() (*engine.Plan, *stepProgram, error) { return planUpdate(s.model, s.optimizer) })
	if err != nil {
		return 0, err
	}
	for _, group := range []string{GroupEmbedder, GroupDecoder} {
		lr, t := rate(group)
		s.optimizer.Set(&s.step, adamSlot(group), lr, max(t, 1))
	}
	if err := s.execute(ctx, p); err != nil {
		return 0, err
	}
	var clip [2]float32
	err = engine.DownloadTemp(s.dev, p.exe, p.clip.View(), clip[:])
	return float64(clip[0]), err
}

// Evaluate runs the forward pass and returns, for every target in order, its
// negative log-likelihood in nats and the likeliest id in its place.
func (s *Stepper) Evaluate(ctx context.Context, b *batch.Batch, pixels []byte) (nll []float32, best []int32, err error) {
	p, err := s.compiled("evaluate", func() (*engine.Plan, *stepProgram, error) { return planStep(s.model, s.in, false, false) })
	if err != nil {
		return nil, nil, err
	}
	n, err := s.in.upload(s.dev, b, pixels, &s.step)
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
	return nll, best, engine.DownloadTemp(s.dev, p.exe, p.loss.Best.View(), best)
}

// Traced is one measured dispatch of a step.
type Traced struct {
	engine.Dispatch
	engine.Timing
}

// Trace makes the programs that run from here on be measured, until Traced is
// called.
func (s *Stepper) Trace() { s.tracing, s.traced = true, nil }

// Traced ends measuring and returns what was measured, one program after another.
func (s *Stepper) Traced() []Traced {
	s.tracing = false
	return s.traced
}

func (s *Stepper) execute(ctx context.Context, p *stepProgram) error {
	if !s.tracing {
		return p.exe.Run(ctx, &s.step)
	}
	timings, err := p.exe.Profile(ctx, &s.step)
	var start time.Duration
	if n := len(s.traced); n > 0 {
		start = s.traced[n-1].Start + s.traced[n-1].Duration
	}
	for _, t := range timings {
		t.Start += start
		s.traced = append(s.traced, Traced{p.dispatches[t.Dispatch], t})
	}
	return err
}

// HostTime is the time that the last micro-batch and the last update spent
// outside the device.
func (s *Stepper) HostTime() time.Duration {
	var d time.Duration
	for _, key := range []string{"first", "update"} {
		if p := s.programs[key]; p != nil {
			d += p.exe.HostTime()
		}
	}
	return d
}
