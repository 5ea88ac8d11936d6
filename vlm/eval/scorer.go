package eval

import (
	"context"
	"errors"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// scorer runs the forward pass over rows of one length.
type scorer struct {
	images int // at most

	dev      engine.Device
	in       *vlm.Inputs
	exe      engine.Executable
	memories []engine.Memory
	loss     nn.HeadLoss
	last     *engine.Buffer // the row whose logits are wanted
	logits   *nn.Tensor     // of that row [1, V]; nil where they are not wanted
	step     [shaders.StepWords]uint32
}

// newScorer compiles the pass over one row of so many tokens; logits asks for those of one row.
func newScorer(l *vlm.Runner, tokens, images int, logits bool) (_ *scorer, err error) {
	s := &scorer{images: images, dev: l.Device, in: l.NewInputs(1, tokens, images, tokens), last: engine.NewBuffer("last row", 4)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	o := nn.Options{Params: l.Params, Type: l.Storage(), NoFusion: vlm.NoFusionOn(l.Device.Info().Kind)}
	program, err := nn.Record("score", o, func(g *nn.Graph) {
		x := l.Hidden(g, s.in, nil)
		s.loss = l.HeadLoss(g, s.in, x)
		g.Keep(s.loss.NLL)
		g.Keep(s.loss.ArgMax)
		if logits {
			s.logits = g.Keep(l.Logits(g, g.GatherRows(x, nn.Input(s.last, 1), 1)))
		}
	})
	if err != nil {
		return nil, err
	}
	plan, err := l.Plan(program)
	if err != nil {
		return nil, err
	}
	if err = s.in.Allocate(s.dev); err != nil {
		return nil, err
	}
	if s.memories, err = engine.Allocate(s.dev, "inputs", s.last); err != nil {
		return nil, err
	}
	s.exe, err = s.dev.Compile(plan, nil)
	return s, err
}

func (s *scorer) close() {
	if s.exe != nil {
		s.exe.Free()
	}
	engine.Free(s.memories)
	s.in.Close()
}

// run returns, for every target in order, its negative log-likelihood in nats and the id with
// the largest logit in its place.
func (s *scorer) run(ctx context.Context, b *packing.Batch, pixels []byte) (nll []float32, best []int32, err error) {
	n, err := s.in.Upload(s.dev, b, pixels, &s.step)
	if err != nil || n == 0 {
		return nil, nil, err
	}
	if err := engine.Start(ctx, s.exe, &s.step); err != nil {
		return nil, nil, err
	}
	nll, best = make([]float32, n), make([]int32, n)
	err = errors.Join(engine.DownloadTemp(s.dev, s.exe, s.loss.NLL.View(), nll), engine.DownloadTemp(s.dev, s.exe, s.loss.ArgMax.View(), best))
	return nll, best, err
}

// Score runs a text without images through the model: the negative log-likelihood of each of
// ids[1:], in nats, and the logits behind the last id [V].
func Score(ctx context.Context, l *vlm.Runner, ids []int32) (nll, logits []float32, err error) {
	b, err := packing.Build(packing.Shape{Rows: 1, T: len(ids), Patches: l.Config.Vision.Patches()},
		packing.Modes{Attention: l.Config.Attention, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: ids, LossMask: make([]bool, len(ids))}}})
	if err != nil {
		return nil, nil, err
	}
	s, err := newScorer(l, len(ids), 0, true)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	if err := engine.Upload(s.dev, s.last.View(), []int32{int32(len(ids) - 1)}); err != nil {
		return nil, nil, err
	}
	if nll, _, err = s.run(ctx, b, nil); err != nil {
		return nil, nil, err
	}
	logits = make([]float32, s.logits.Size())
	return nll, logits, engine.DownloadTemp(s.dev, s.exe, s.logits.View(), logits)
}
