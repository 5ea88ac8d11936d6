package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/shaders/quant"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
)

// In quantisation-aware training the decoder's matrices are rounded in the forward pass as export
// --quantize rounds them, and gradients go straight through to the master weights, which are what
// a run saves.

// QATNone is the value of Recipe.QAT for training without rounding.
const QATNone = "none"

// QATNames are the values of Recipe.QAT.
var QATNames = func() []string {
	names := []string{QATNone}
	for _, f := range shaders.FakeQuantFormats {
		names = append(names, f.String())
	}
	return names
}()

// hasQAT reports whether some steps round the weights.
func (r *Recipe) hasQAT() bool { return r.QAT != "" && r.QAT != QATNone }

// checkQAT returns an error for settings of quantisation-aware training that are not valid.
func (r *Recipe) checkQAT() error {
	switch {
	case r.hasQAT() && !slices.Contains(QATNames, r.QAT):
		return fmt.Errorf("--qat is %q, want one of %s: it rounds to blocks of 32 values", r.QAT, strings.Join(QATNames, ", "))
	case !within(r.QATSteps, 0, math.MaxInt32):
		return fmt.Errorf("--qat-steps cannot be %d, want 0 to 2147483647", r.QATSteps)
	case !r.hasQAT() && r.QATSteps > 0:
		return errors.New("--qat-steps says how many steps round the weights; say to what with --qat TYPE")
	case r.hasQAT() && r.Adapter != nil:
		return fmt.Errorf("--qat rounds matrices that are trained, and with --lora-rank they are not; --weights %s trains the adapter on a base that is stored so", r.QAT)
	case r.hasQAT() && r.frozenThroughout():
		return fmt.Errorf("--qat rounds the decoder's matrices while they are trained, and --freeze-decoder-steps %d keeps them frozen in all %d steps; leave out one of them", r.FreezeDecoderSteps, r.Steps)
	}
	return nil
}

// store sets how the model's weights are stored for training.
func (r *Recipe) store(m *vlm.Model) error {
	if !r.hasQAT() {
		m.Store(r.storage())
		return nil
	}
	m.StoreForQAT(r.storage())
	format := r.qatFormat(m)
	if !slices.ContainsFunc(m.Params.All(), func(p *nn.Param) bool { _, ok := format(p); return ok }) {
		return fmt.Errorf("--qat %s rounds none of the decoder's matrices: their rows, of %d and %d values, are not whole blocks of 32", r.QAT, m.Config.Text.HiddenSize, m.Config.Text.IntermediateSize)
	}
	return nil
}

// qatFormat returns the block format that a parameter is rounded to.
func (r *Recipe) qatFormat(m *vlm.Model) func(p *nn.Param) (quant.Format, bool) {
	exported := pretrained.ExportFormats(m, r.QAT)
	return func(p *nn.Param) (quant.Format, bool) {
		f, ok := exported(p)
		return f, ok && slices.Contains(shaders.FakeQuantFormats, f)
	}
}

// enterStep prepares the programs for a step, counted from 1: the decoder may become trainable, or
// rounded.
func (t *trainer) enterStep(step int) error {
	if freeze := step <= t.Recipe.FreezeDecoderSteps; freeze != t.frozen {
		t.frozen = freeze
		t.trainStep.Freeze(freeze)
	}
	return t.startQAT(step)
}

// startQAT starts to round the weights if a step, counted from 1, is one of the last QATSteps of the
// run. From then on, validation and its answers use the rounded weights as well.
func (t *trainer) startQAT(step int) error {
	r := &t.Recipe
	if !r.hasQAT() || t.qat || r.QATSteps > 0 && step <= t.steps-r.QATSteps {
		return nil
	}
	t.qat = true
	t.note("step %d: from here on the decoder's matrices are rounded to %s", t.state.Step+1, r.QAT)
	if t.generator != nil {
		t.generator.Close()
	}
	return t.trainStep.FakeQuant(r.qatFormat(t.model))
}

// FakeQuant makes the steps from now on round the model's weights, see nn.Params.FakeQuant. Programs
// are compiled again on next use.
func (s *TrainStep) FakeQuant(format func(p *nn.Param) (quant.Format, bool)) error {
	s.FreePrograms()
	return s.model.Params.FakeQuant(format)
}
