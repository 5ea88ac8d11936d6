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
	images int // capacity

	dev      engine.Device
	in       *vlm.Inputs
	exe      engine.Executable
	memories []engine.Memory
	loss     nn.HeadLoss
	last     *engine.Buffer // the row to compute logits for
	logits   *nn.Tensor     // of that row, [1, V]; nil = not computed
	step     [shaders.StepWords]uint32
}

// newScorer compiles the forward pass of one row, with the logits of one token if asked for.
func newScorer(runner *vlm.Runner, tokens, images int, logits bool) (_ *scorer, err error) {
	s := &scorer{images: images, dev: runner.Device, in: runner.NewInputs(1, tokens, images, tokens), last: engine.NewBuffer("last row", 4)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	o := nn.Options{Params: runner.Params, Type: runner.Storage(), NoFusion: vlm.NoFusionOn(runner.Device.Info().Kind)}
	program, err := nn.Record("score", o, func(g *nn.Graph) {
		x := runner.Hidden(g, s.in, nil)
		s.loss = runner.HeadLoss(g, s.in, x)
		g.Keep(s.loss.NLL)
		g.Keep(s.loss.ArgMax)
		if logits {
			s.logits = g.Keep(runner.Logits(g, g.GatherRows(x, nn.Input(s.last, 1), 1)))
		}
	})
	if err != nil {
		return nil, err
	}
	plan, err := runner.Plan(program)
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

// run returns, for every target in order, its negative log-likelihood in nats and the argmax of
// the logits.
func (s *scorer) run(ctx context.Context, b *packing.Batch, pixels []byte) (nll []float32, argmax []int32, err error) {
	n, err := s.in.Upload(s.dev, b, pixels, &s.step)
	if err != nil || n == 0 {
		return nil, nil, err
	}
	if err := engine.Start(ctx, s.exe, &s.step); err != nil {
		return nil, nil, err
	}
	nll, argmax = make([]float32, n), make([]int32, n)
	err = errors.Join(engine.DownloadTemp(s.dev, s.exe, s.loss.NLL.View(), nll), engine.DownloadTemp(s.dev, s.exe, s.loss.ArgMax.View(), argmax))
	return nll, argmax, err
}

// Score runs a text without images through the model. It returns the negative log-likelihood of
// each of ids[1:], in nats, and the logits after the last id, [V].
func Score(ctx context.Context, runner *vlm.Runner, ids []int32) (nll, logits []float32, err error) {
	b, err := packing.Build(packing.Shape{Rows: 1, T: len(ids), Patches: runner.Config.Vision.Patches()},
		packing.Modes{Attention: runner.Config.Attention, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: ids, LossMask: make([]bool, len(ids))}}})
	if err != nil {
		return nil, nil, err
	}
	s, err := newScorer(runner, len(ids), 0, true)
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
