package tensorboard

import (
	"fmt"
	"strings"
	"sync"

	"patchwork/vlm/train"
)

// Observer writes a run's events. At the first error it calls failed and stops writing;
// the run continues. The steps after the one that a run resumes from are written again, and
// TensorBoard discards those of earlier files.
func (w *Writer) Observer(failed func(error)) train.Observer {
	var mu sync.Mutex
	broken := false
	try := func(write func() error) {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return
		}
		if err := write(); err != nil {
			broken = true
			failed(err)
		}
	}
	return train.Observer{
		Start:      func(r train.Info) { try(func() error { return w.begin(r.Done + 1) }) },
		Step:       func(m train.StepMetrics) { try(func() error { return w.step(m) }) },
		Validation: func(m train.ValMetrics) { try(func() error { return w.validation(m) }) },
	}
}

func (w *Writer) step(m train.StepMetrics) error {
	return w.record(m.Step,
		scalar("train/loss", float64(m.Loss)), scalar("train/grad_norm", float64(m.GradNorm)), scalar("train/lr", m.LR),
		scalar("perf/tokens_per_s", m.TokensPerS), scalar("perf/images_per_s", m.ImagesPerS), scalar("perf/memory_bytes", float64(m.Memory)))
}

func (w *Writer) validation(m train.ValMetrics) error {
	values := []value{scalar("val/loss", m.ValLoss)}
	for i, s := range m.Samples {
		for n := range s.Images {
			png, err := s.PNG(n)
			if err != nil {
				return err
			}
			values = append(values, rgbImage(fmt.Sprintf("val/sample %d/picture %d", i+1, n+1), s.Images[n].H, s.Images[n].W, png))
		}
		values = append(values, text(fmt.Sprintf("val/sample %d/answer", i+1),
			fmt.Sprintf("question\n\n%s\nanswer\n\n%s\nexpected\n\n%s", literal(s.Question), literal(s.Answer), literal(s.Truth))))
	}
	if err := w.record(m.Step, values...); err != nil {
		return err
	}
	return w.flush()
}

// literal is a text as a Markdown code block.
func literal(s string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.ToValidUTF8(s, "\uFFFD")) {
		out.WriteString("    " + strings.TrimRight(line, "\r\n") + "\n")
	}
	return out.String()
}
