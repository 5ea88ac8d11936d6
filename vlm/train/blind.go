package train

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/loader"
)

// Checks that a run does not train blind: that gradients reach all that is trained, and that
// answers depend on the images.

// maxListed is the most parameters that a warning names.
const maxListed = 5

// checkGradients warns after a run's first step if parameters that are trained got no gradient.
func (t *trainer) checkGradients(ctx context.Context, images, clips int64) error {
	zero, err := t.trainStep.zeroGradients(ctx)
	if err != nil {
		return err
	}
	// No answer reads what the last layer makes of images.
	unread := fmt.Sprintf("%slayers.%d.", vlm.ExpertPrefix, t.model.Config.Text.NumHiddenLayers-1)
	zero = slices.DeleteFunc(zero, func(p *nn.Param) bool {
		sound := strings.HasPrefix(p.Name, vlm.AudioPrefix)
		return p.Group == vlm.GroupExperts && (images == 0 || strings.HasPrefix(p.Name, unread)) ||
			p.Group == vlm.GroupEmbedder && (sound && clips == 0 || !sound && images == 0) || // the step has none
			p.Group == vlm.GroupAdapter && strings.HasSuffix(p.Name, ".lora_A.weight") // lora_B is 0 at first
	})
	if len(zero) == 0 {
		return nil
	}
	var names []string
	for _, p := range zero[:min(len(zero), maxListed)] {
		names = append(names, p.Name)
	}
	if len(zero) > maxListed {
		names = append(names, fmt.Sprintf("%d more", len(zero)-maxListed))
	}
	t.warn("step %d: the gradients of %d parameters are 0, so they learn nothing from it: %s", t.state.Step, len(zero), strings.Join(names, ", "))
	return nil
}

// zeroGradients returns the parameters whose gradients after the last step are all 0, of those that
// are trained.
func (s *TrainStep) zeroGradients(ctx context.Context) ([]*nn.Param, error) {
	params := s.model.Params.WithGrad()
	squares := engine.NewBuffer("squares of gradients", engine.Alignment*int64(max(1, len(params))))
	memories, err := engine.Allocate(s.dev, "a check of the gradients", squares)
	if err != nil {
		return nil, err
	}
	defer engine.Free(memories)
	program := engine.NewProgram("check the gradients")
	for i, p := range params {
		program.Dispatch(shaders.SumSquares, shaders.SumParams{N: shaders.N(int(p.Count()))}, s.model.Params.GradView(p), squares.View().Slice(engine.Alignment*int64(i), 4))
	}
	if err := engine.RunOnce(ctx, s.dev, program); err != nil {
		return nil, err
	}
	values := make([]float32, squares.Bytes/4)
	if err := engine.DownloadFloats(s.dev, squares.View(), values); err != nil {
		return nil, err
	}
	var zero []*nn.Param
	for i, p := range params {
		if values[engine.Alignment/4*int64(i)] == 0 {
			zero = append(zero, p)
		}
	}
	return zero, nil
}

// blankDue reports whether this validation is done with blank images too: a run's first and last.
func (t *trainer) blankDue() bool {
	return t.state.ValStep == 0 || t.state.Step == t.steps
}

// blankLoss is the validation loss with white images and silence in place of the rows' own; ok is
// false if no row has either.
func (t *trainer) blankLoss(ctx context.Context) (loss float64, ok bool, err error) {
	files := 0
	loss, targets, err := t.validationLoss(ctx, func(b *loader.Batch) []byte {
		files += len(b.Images) + len(b.Clips)
		clear(b.Frames)
		return bytes.Repeat([]byte{255}, len(b.Pixels))
	})
	return loss, files > 0 && targets > 0, err
}
