package vlm

import (
	"context"
	"errors"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/batch"
)

// Score runs a text without pictures through the model: the negative
// log-likelihood of each of ids[1:], in nats, and the logits behind the last id [V].
func (l *Loaded) Score(ctx context.Context, ids []int32) (nll, logits []float32, err error) {
	b, err := batch.Build(batch.Shape{Rows: 1, T: len(ids), Patches: l.Config.Vision.Patches()},
		batch.Modes{Attention: l.Config.Attention, Turns: batch.InConversation, Loss: batch.OnAll},
		[][]*batch.Sample{{{IDs: ids, Answer: make([]bool, len(ids))}}})
	if err != nil {
		return nil, nil, err
	}
	in, row := l.newInputs(1, len(ids), 0, len(ids)), engine.NewBuffer("last row", 4)
	memories, err := engine.Allocate(l.Device, "inputs", row)
	if err != nil {
		return nil, nil, err
	}
	defer engine.Free(memories)
	if err := in.allocate(l.Device); err != nil {
		return nil, nil, err
	}
	defer in.free()
	var loss nn.HeadLoss
	var last *nn.Tensor
	program, err := nn.Record("score", nn.Options{Params: l.Params, Type: l.storage()}, func(g *nn.Graph) {
		x := l.hidden(g, in, nil)
		head := g.Param(l.decoder.head)
		loss = g.HeadCrossEntropy(x, head, nn.Targets{Rows: in.tensor(in.targetRows), IDs: in.tensor(in.targetIDs), CountSlot: slotTargets})
		g.Keep(loss.NLL)
		last = g.Keep(g.Logits(g.GatherRows(x, in.tensor(row), 1), head))
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := engine.NewPlan(program, l.most)
	if err != nil {
		return nil, nil, err
	}
	exe, err := l.Device.Compile(plan, nil)
	if err != nil {
		return nil, nil, err
	}
	defer exe.Free()
	var step [shaders.StepWords]uint32
	if _, err = in.upload(l.Device, b, nil, &step); err != nil {
		return nil, nil, err
	}
	if err := engine.Upload(l.Device, row.View(), []int32{int32(len(ids) - 1)}); err != nil {
		return nil, nil, err
	}
	if err := exe.Run(ctx, &step); err != nil {
		return nil, nil, err
	}
	nll, logits = make([]float32, len(ids)-1), make([]float32, last.Size())
	err = errors.Join(engine.DownloadTemp(l.Device, exe, loss.NLL.View(), nll), engine.DownloadTemp(l.Device, exe, last.View(), logits))
	return nll, logits, err
}
