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

// StepMetrics is the line of metrics.jsonl for a step.
type StepMetrics struct {
	Step       int             `json:"step"`
	Tokens     int64           `json:"tokens"` // since the start of the run, without padding
	Loss       jsonfloat.Float `json:"loss"`   // mean over the step's targets, in nats
	GradNorm   jsonfloat.Float `json:"grad_norm"`
	LR         float64         `json:"lr"`
	TokensPerS float64         `json:"tokens_per_s"`
	Seconds    float64         `json:"seconds"` // since the start of the run, without interruptions
	ImagesPerS float64         `json:"images_per_s"`
	// RankTokensPerS are the tokens a second of each of several ranks in its own forward and backward
	// passes, without waiting for the others.
	RankTokensPerS []float64 `json:"rank_tokens_per_s,omitempty"`

	// Only for observers.
	Steps       int     `json:"-"` // of the run; with --epochs an estimate until the last one
	StepSeconds float64 `json:"-"` // seconds of this step
	Skipped     int     `json:"-"` // steps skipped for non-finite gradients since the start of the run
	Memory      int64   `json:"-"` // bytes allocated on the device
	MemoryPeak  int64   `json:"-"` // the maximum of Memory so far
}

// ValMetrics is the line of metrics.jsonl for a validation.
type ValMetrics struct {
	Step    int     `json:"step"`
	ValLoss float64 `json:"val_loss"` // mean over the targets, in nats
	// BlankLoss is the loss with white images; nil: it was not computed.
	BlankLoss *float64 `json:"blank_val_loss,omitempty"`
	Samples   []Sample `json:"samples,omitempty"`
}

// MarshalJSON writes a non-finite loss as null.
func (v ValMetrics) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Step    int              `json:"step"`
		ValLoss jsonfloat.Float  `json:"val_loss"`
		Blank   *jsonfloat.Float `json:"blank_val_loss,omitempty"`
		Samples []Sample         `json:"samples,omitempty"`
	}{v.Step, jsonfloat.Float(v.ValLoss), (*jsonfloat.Float)(v.BlankLoss), v.Samples})
}

// metricsLog appends to metrics.jsonl and keeps the metrics of all steps. Lines that cannot be
// written stay pending. The zero value only keeps them, on ranks that write no files.
type metricsLog struct {
	file    *os.File
	size    int64  // of the file, up to the last complete line
	pending []byte // lines still to be written
	train   []StepMetrics
	val     []ValMetrics
}

// openMetrics opens the file and removes the lines of steps after the given one, which the run
// takes again, and incomplete lines.
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
	m.size = int64(len(kept))
	if m.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	if err := m.file.Truncate(m.size); err != nil { // works on a full disk
		return nil, errors.Join(err, m.file.Close())
	}
	return m, nil
}

// read parses the metrics up to a step and returns the lines to keep.
func (m *metricsLog) read(text []byte, step int) (kept []byte) {
	for text := range bytes.Lines(text) {
		var line struct {
			StepMetrics
			ValLoss   json.RawMessage `json:"val_loss"`
			BlankLoss *float64        `json:"blank_val_loss"`
			Samples   []Sample        `json:"samples"`
		}
		if json.Unmarshal(text, &line) != nil || line.Step > step || !bytes.HasSuffix(text, []byte("\n")) {
			continue
		}
		if line.ValLoss != nil {
			var loss jsonfloat.Float
			if json.Unmarshal(line.ValLoss, &loss) != nil {
				continue
			}
			m.val = append(m.val, ValMetrics{line.Step, float64(loss), line.BlankLoss, line.Samples})
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
	m.val = append(m.val, ValMetrics{Step: v.Step, ValLoss: v.ValLoss}) // without the images, which would accumulate
	return m.write(v)
}

func (m *metricsLog) write(v any) error {
	if m.file == nil {
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	m.pending = append(append(m.pending, line...), '\n')
	return m.flush()
}

// flush appends the pending lines to the file: all of them, or none.
func (m *metricsLog) flush() error {
	if _, err := m.file.WriteAt(m.pending, m.size); err != nil {
		return errors.Join(err, m.file.Truncate(m.size))
	}
	m.size += int64(len(m.pending))
	m.pending = m.pending[:0]
	return nil
}

// sync syncs the file to disk. It may be called concurrently with the other methods.
func (m *metricsLog) sync() error { return m.file.Sync() }

func (m *metricsLog) close() error {
	if m.file == nil {
		return nil
	}
	return errors.Join(m.flush(), m.file.Sync(), m.file.Close())
}
