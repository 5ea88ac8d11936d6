package train

import (
	"bytes"
	"image"
	"image/png"

	"patchwork/vlm/data"
	pixels "patchwork/vlm/image"
)

// Observer gets the events of a run; nil functions are skipped. Step and Validation are called by
// the training goroutine, which waits for them. BadRow, Note and Checkpoint may be called
// concurrently from other goroutines.
type Observer struct {
	Start      func(Info)
	Step       func(StepMetrics)
	Validation func(ValMetrics)
	BadRow     func(data.Verdict)
	Note       func(string)
	Warn       func(string) // problems that do not end the run
	Checkpoint func(CheckpointEvent)
}

// Info describes a run before its first step.
type Info struct {
	Steps, Done int
	// StepsEstimated: Steps is an estimate, since the recipe has epochs and the lengths of the rows
	// are not all known; StepMetrics.Steps is nearer.
	StepsEstimated bool
	Ranks          int
	Parameters     int64
	TokensPerStep  int // of all ranks, padding included
	Rows, ValRows  int
	FlopsPerStep   float64 // of all ranks, without padding

	// Metrics of a resumed run before it was resumed, oldest first; read-only.
	Earlier    []StepMetrics
	EarlierVal []ValMetrics
}

// CheckpointEvent reports that a checkpoint was saved or could not be saved.
type CheckpointEvent struct {
	Step int
	Err  error // nil: it was saved
}

// Sample is a question of a validation row with the model's answer.
type Sample struct {
	Row      int           `json:"row"` // in the dataset of the validation rows
	Question string        `json:"question"`
	Truth    string        `json:"truth"`
	Answer   string        `json:"answer"`
	Images   []*pixels.RGB `json:"-"` // as preprocessed for the model
}

// PNG encodes image number i.
func (s Sample) PNG(i int) ([]byte, error) {
	m := image.NewNRGBA(image.Rect(0, 0, s.Images[i].W, s.Images[i].H))
	for p, rgb := 0, s.Images[i].Pix; len(rgb) >= 3; p, rgb = p+4, rgb[3:] {
		copy(m.Pix[p:], rgb[:3])
		m.Pix[p+3] = 255
	}
	var out bytes.Buffer
	err := png.Encode(&out, m)
	return out.Bytes(), err
}

// MultiObserver returns an observer that passes every event to all observers in order.
func MultiObserver(all ...Observer) Observer {
	return Observer{
		Start: func(r Info) {
			notify(all, func(o Observer) func(Info) { return o.Start }, r)
		},
		Step: func(m StepMetrics) {
			notify(all, func(o Observer) func(StepMetrics) { return o.Step }, m)
		},
		Validation: func(m ValMetrics) {
			notify(all, func(o Observer) func(ValMetrics) { return o.Validation }, m)
		},
		BadRow: func(v data.Verdict) {
			notify(all, func(o Observer) func(data.Verdict) { return o.BadRow }, v)
		},
		Note: func(s string) {
			notify(all, func(o Observer) func(string) { return o.Note }, s)
		},
		Warn: func(s string) {
			notify(all, func(o Observer) func(string) { return o.Warn }, s)
		},
		Checkpoint: func(e CheckpointEvent) {
			notify(all, func(o Observer) func(CheckpointEvent) { return o.Checkpoint }, e)
		},
	}
}

// notify calls the function of every observer that has one.
func notify[T any](all []Observer, which func(Observer) func(T), event T) {
	for _, o := range all {
		if f := which(o); f != nil {
			f(event)
		}
	}
}
