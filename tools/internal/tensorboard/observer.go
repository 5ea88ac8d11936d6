package tensorboard

import (
	"fmt"
	"strings"
	"sync"

	"patchwork/vlm"
)

// Observer is to be told of a run's course and writes it down. Where the file
// cannot be written any more, failed is told, once, and no more is written: no run
// ends for that. Steps after the one that a run goes on from are told anew, and
// TensorBoard forgets what earlier files said of them.
func (w *Writer) Observer(failed func(error)) vlm.Observer {
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
	return vlm.Observer{
		Start:      func(r vlm.RunInfo) { try(func() error { return w.begin(r.Done + 1) }) },
		Step:       func(m vlm.StepMetrics) { try(func() error { return w.step(m) }) },
		Validation: func(m vlm.ValMetrics) { try(func() error { return w.validation(m) }) },
	}
}

func (w *Writer) step(m vlm.StepMetrics) error {
	return w.record(m.Step,
		scalar("train/loss", float64(m.Loss)), scalar("train/grad_norm", float64(m.GradNorm)), scalar("train/lr", m.LR),
		scalar("perf/tokens_per_s", m.TokensPerS), scalar("perf/images_per_s", m.ImagesPerS), scalar("perf/memory_bytes", float64(m.Memory)))
}

func (w *Writer) validation(m vlm.ValMetrics) error {
	values := []value{scalar("val/loss", m.ValLoss)}
	for i, s := range m.Samples {
		for n := range s.Pictures {
			png, err := s.PNG(n)
			if err != nil {
				return err
			}
			values = append(values, picture(fmt.Sprintf("val/sample %d/picture %d", i+1, n+1), s.Size, png))
		}
		values = append(values, text(fmt.Sprintf("val/sample %d/answer", i+1),
			fmt.Sprintf("question\n\n%s\nanswer\n\n%s\nexpected\n\n%s", literal(s.Question), literal(s.Answer), literal(s.Truth))))
	}
	if err := w.record(m.Step, values...); err != nil {
		return err
	}
	return w.flush()
}

// literal is a text as Markdown shows it character by character.
func literal(s string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.ToValidUTF8(s, "\uFFFD")) {
		out.WriteString("    " + strings.TrimRight(line, "\r\n") + "\n")
	}
	return out.String()
}
