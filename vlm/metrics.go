package vlm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
)

// StepMetrics is a line of metrics.jsonl about a step.
type StepMetrics struct {
	Step       int     `json:"step"`
	Tokens     int64   `json:"tokens"` // since the start of the run, padding left out
	Loss       Figure  `json:"loss"`   // mean over the step's targets, in nats
	GradNorm   Figure  `json:"grad_norm"`
	LR         float64 `json:"lr"`
	TokensPerS float64 `json:"tokens_per_s"`
	Seconds    float64 `json:"seconds"` // since the start of the run, interruptions left out
	ImagesPerS float64 `json:"images_per_s"`

	// For observers alone.
	Took       float64 `json:"-"` // seconds of this step
	Skipped    int     `json:"-"` // steps since the start of the run that were left out: gradients were not finite
	Memory     int64   `json:"-"` // bytes that the device has handed out
	MemoryPeak int64   `json:"-"` // the most there ever were
}

// Figure is a number that JSON may not hold: what is infinite or NaN is null there.
type Figure float64

// MarshalJSON writes the number or null.
func (f Figure) MarshalJSON() ([]byte, error) {
	if !finite(float64(f)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// UnmarshalJSON reads the number; null is NaN.
func (f *Figure) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*f = Figure(math.NaN())
		return nil
	}
	return json.Unmarshal(data, (*float64)(f))
}

// ValMetrics is a line of metrics.jsonl about a validation.
type ValMetrics struct {
	Step    int     `json:"step"`
	ValLoss float64 `json:"val_loss"` // mean over the targets, in nats
}

// metricsLog appends to metrics.jsonl and remembers the curves.
type metricsLog struct {
	file  *os.File
	train []StepMetrics
	val   []ValMetrics
}

// openMetrics opens the file and drops what it says of steps after the given
// one: they are done again.
func openMetrics(path string, step int) (*metricsLog, error) {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	m := &metricsLog{}
	var keep bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(old))
	for lines.Scan() {
		var line struct {
			StepMetrics
			ValLoss *float64 `json:"val_loss"`
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Step > step {
			continue
		}
		if line.ValLoss != nil {
			m.val = append(m.val, ValMetrics{line.Step, *line.ValLoss})
		} else {
			m.train = append(m.train, line.StepMetrics)
		}
		keep.Write(lines.Bytes())
		keep.WriteByte('\n')
	}
	if !bytes.Equal(old, keep.Bytes()) {
		if err := writeFile(path, keep.Bytes()); err != nil {
			return nil, err
		}
	}
	m.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return m, err
}

func (m *metricsLog) step(s StepMetrics) error {
	m.train = append(m.train, s)
	return m.write(s)
}

func (m *metricsLog) validation(v ValMetrics) error {
	m.val = append(m.val, v)
	return m.write(v)
}

func (m *metricsLog) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = m.file.Write(append(line, '\n'))
	return err
}

func (m *metricsLog) close() error { return errors.Join(m.file.Sync(), m.file.Close()) }
