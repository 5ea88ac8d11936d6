package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"

	"patchwork/internal/durable"
	"patchwork/internal/jsonfloat"
	"patchwork/internal/smallfile"
)

// StepMetrics is a line of metrics.jsonl about a step.
type StepMetrics struct {
	Step       int             `json:"step"`
	Tokens     int64           `json:"tokens"` // since the start of the run, padding left out
	Loss       jsonfloat.Float `json:"loss"`   // mean over the step's targets, in nats
	GradNorm   jsonfloat.Float `json:"grad_norm"`
	LR         float64         `json:"lr"`
	TokensPerS float64         `json:"tokens_per_s"`
	Seconds    float64         `json:"seconds"` // since the start of the run, interruptions left out
	ImagesPerS float64         `json:"images_per_s"`

	// For observers alone.
	Took       float64 `json:"-"` // seconds of this step
	Skipped    int     `json:"-"` // steps since the start of the run that were left out: gradients were not finite
	Memory     int64   `json:"-"` // bytes that the device has handed out
	MemoryPeak int64   `json:"-"` // the most there ever were
}

// ValMetrics is a line of metrics.jsonl about a validation.
type ValMetrics struct {
	Step    int      `json:"step"`
	ValLoss float64  `json:"val_loss"` // mean over the targets, in nats
	Samples []Sample `json:"samples,omitempty"`
}

// MarshalJSON writes a loss that is not finite as null.
func (v ValMetrics) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Step    int             `json:"step"`
		ValLoss jsonfloat.Float `json:"val_loss"`
		Samples []Sample        `json:"samples,omitempty"`
	}{v.Step, jsonfloat.Float(v.ValLoss), v.Samples})
}

// metricsLog appends to metrics.jsonl and remembers the curves. Lines that cannot
// be written are kept until they can.
type metricsLog struct {
	file    *os.File
	end     int64  // of the whole lines in it
	pending []byte // lines that belong there
	train   []StepMetrics
	val     []ValMetrics
}

// openMetrics opens the file and drops what it says of steps after the given
// one: they are done again. A line that was torn is dropped too.
func openMetrics(path string, step int) (*metricsLog, error) {
	old, err := smallfile.Read(path, smallfile.Log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	m := &metricsLog{}
	kept := m.read(old, step)
	if !bytes.HasPrefix(old, kept) {
		if err := durable.Replace(path, kept); err != nil {
			return nil, err
		}
	}
	m.end = int64(len(kept))
	if m.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	if err := m.file.Truncate(m.end); err != nil { // which needs no room on a full disk
		return nil, errors.Join(err, m.file.Close())
	}
	return m, nil
}

// read takes the curves up to a step from the lines and returns the whole lines.
func (m *metricsLog) read(text []byte, step int) (kept []byte) {
	for text := range bytes.Lines(text) {
		var line struct {
			StepMetrics
			ValLoss json.RawMessage `json:"val_loss"`
			Samples []Sample        `json:"samples"`
		}
		if json.Unmarshal(text, &line) != nil || line.Step > step || !bytes.HasSuffix(text, []byte("\n")) {
			continue
		}
		if line.ValLoss != nil {
			var loss jsonfloat.Float
			if json.Unmarshal(line.ValLoss, &loss) != nil {
				continue
			}
			m.val = append(m.val, ValMetrics{line.Step, float64(loss), line.Samples})
		} else {
			m.train = append(m.train, line.StepMetrics)
		}
		kept = append(kept, text...)
	}
	return kept
}

func (m *metricsLog) step(s StepMetrics) error {
	m.train = append(m.train, s)
	return m.write(s)
}

func (m *metricsLog) validation(v ValMetrics) error {
	m.val = append(m.val, ValMetrics{Step: v.Step, ValLoss: v.ValLoss}) // pictures would pile up
	return m.write(v)
}

func (m *metricsLog) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	m.pending = append(append(m.pending, line...), '\n')
	return m.flush()
}

// flush writes the lines that are not in the file yet: all, or none of them.
func (m *metricsLog) flush() error {
	if _, err := m.file.WriteAt(m.pending, m.end); err != nil {
		return errors.Join(err, m.file.Truncate(m.end))
	}
	m.end += int64(len(m.pending))
	m.pending = m.pending[:0]
	return nil
}

// sync makes what was written lasting. It may be called beside the others.
func (m *metricsLog) sync() error { return m.file.Sync() }

func (m *metricsLog) close() error { return errors.Join(m.flush(), m.file.Sync(), m.file.Close()) }
