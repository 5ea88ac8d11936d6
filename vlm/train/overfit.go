package train

import (
	"fmt"
	"path/filepath"

	"patchwork/vlm/checkpoint"
)

// A run learns its rows by heart where the loss of held-out rows rises while that of the
// training rows falls.
const (
	overfitRise  = 1.1 // times the least validation loss
	overfitGap   = 2   // times the training loss, and 0.1 more: what one validation shows
	overfitTimes = 2   // passes over the data, before which a gap says nothing
	recentSteps  = 20  // of which the training loss is the mean
)

// warnOverfit says that a validation is worse than an earlier one, or far worse than
// training, and which checkpoint is the one to use.
func (t *trainer) warnOverfit(m ValMetrics) {
	train := meanLoss(t.metrics.train)
	best, found := t.bestValidation(m.Step)
	passes := float64(t.state.Cursor.Epoch)
	rises := found && m.ValLoss > overfitRise*best.ValLoss && train < meanLoss(upTo(t.metrics.train, best.Step))
	gap := passes >= overfitTimes && m.ValLoss > overfitGap*train+0.1
	if !rises && !(gap && m.Step == t.steps) || t.overfit && m.Step < t.steps {
		return
	}
	t.overfit = true
	what := fmt.Sprintf("the validation loss is %.3f, the training loss %.3f, in pass %d over %d rows: the model learns its rows by heart", m.ValLoss, train, t.state.Cursor.Epoch+1, len(t.train.rows))
	if rises {
		what += fmt.Sprintf(". It was best after step %d, %.3f", best.Step, best.ValLoss)
		if path := checkpoint.Best(checkpoint.Names(t.saver.dir)); path != "" && checkpoint.Step(path) < m.Step {
			what += ": " + filepath.Join(t.saver.dir, filepath.Base(path)) + " is the checkpoint to use"
		}
	}
	t.warn("%s. More data, fewer --steps or a larger --weight-decay help", what)
}

// bestValidation is the one before a step with the least loss.
func (t *trainer) bestValidation(step int) (best ValMetrics, found bool) {
	for _, v := range t.metrics.val {
		if v.Step < step && finite(v.ValLoss) && (!found || v.ValLoss < best.ValLoss) {
			best, found = v, true
		}
	}
	return best, found
}

func upTo(steps []StepMetrics, step int) []StepMetrics {
	for len(steps) > 0 && steps[len(steps)-1].Step > step {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// meanLoss is that of the newest steps.
func meanLoss(steps []StepMetrics) float64 {
	steps = steps[max(0, len(steps)-recentSteps):]
	sum := 0.0
	for _, s := range steps {
		sum += float64(s.Loss)
	}
	return sum / float64(max(1, len(steps)))
}
