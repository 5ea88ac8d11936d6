package train

import (
	"bytes"
	"image"
	"image/png"

	"patchwork/vlm/data"
)

// Observer is told of a run's course. Step and Validation are called by the
// goroutine that trains, which waits for them; BadRow, Note and Checkpoint may be
// called by others too, at the same time.
type Observer struct {
	Start      func(Info)
	Step       func(StepMetrics)
	Validation func(ValMetrics)
	BadRow     func(data.Verdict)
	Note       func(string)
	Warn       func(string) // of what went wrong and did not end the run
	Checkpoint func(CheckpointEvent)
}

// Info describes a run before its first step.
type Info struct {
	Steps, Done   int
	Parameters    int64
	TokensPerStep int // places, padding included
	Rows, ValRows int
	FlopsPerStep  float64 // of steps without padding

	// What a resumed run has behind it, oldest first. Observers only read it.
	Earlier    []StepMetrics
	EarlierVal []ValMetrics
}

// CheckpointEvent is a checkpoint that was saved, or could not be.
type CheckpointEvent struct {
	Step int
	Err  error // nil: it was saved
}

// Sample is a question of the validation rows with the model's answer.
type Sample struct {
	Row      int      `json:"row"` // of the validation rows' data set
	Question string   `json:"question"`
	Truth    string   `json:"truth"`
	Answer   string   `json:"answer"`
	Size     int      `json:"-"` // of a picture's sides, in pixels
	Pictures [][]byte `json:"-"` // as the model sees them: [Size,Size,3] each
}

// PNG encodes one of the pictures.
func (s Sample) PNG(i int) ([]byte, error) {
	m := image.NewNRGBA(image.Rect(0, 0, s.Size, s.Size))
	for p, rgb := 0, s.Pictures[i]; len(rgb) >= 3; p, rgb = p+4, rgb[3:] {
		copy(m.Pix[p:], rgb[:3])
		m.Pix[p+3] = 255
	}
	var out bytes.Buffer
	err := png.Encode(&out, m)
	return out.Bytes(), err
}

// Observers is one observer that tells many, in their order.
func Observers(all ...Observer) Observer {
	return Observer{
		Start: func(r Info) {
			each(all, func(o Observer) func(Info) { return o.Start }, r)
		},
		Step: func(m StepMetrics) {
			each(all, func(o Observer) func(StepMetrics) { return o.Step }, m)
		},
		Validation: func(m ValMetrics) {
			each(all, func(o Observer) func(ValMetrics) { return o.Validation }, m)
		},
		BadRow: func(v data.Verdict) {
			each(all, func(o Observer) func(data.Verdict) { return o.BadRow }, v)
		},
		Note: func(s string) {
			each(all, func(o Observer) func(string) { return o.Note }, s)
		},
		Warn: func(s string) {
			each(all, func(o Observer) func(string) { return o.Warn }, s)
		},
		Checkpoint: func(e CheckpointEvent) {
			each(all, func(o Observer) func(CheckpointEvent) { return o.Checkpoint }, e)
		},
	}
}

// each tells every observer that wants to know.
func each[T any](all []Observer, which func(Observer) func(T), event T) {
	for _, o := range all {
		if tell := which(o); tell != nil {
			tell(event)
		}
	}
}
