package vlm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"patchwork/nn/safetensors"
)

// Description is what a model's folder or a checkpoint holds.
type Description struct {
	Config     Config `json:"config"`
	Parameters int64  `json:"parameters"`
	Step       int    `json:"step,omitempty"` // of a checkpoint
}

// Describe reads a model's folder without its weights, and checks that every
// tensor is there with its shape.
func Describe(dir string) (Description, error) {
	m, _, err := openModel(dir)
	if err != nil {
		return Description{}, err
	}
	path := filepath.Join(dir, weightsFile)
	f, err := safetensors.Open(path)
	if err != nil {
		return Description{}, err
	}
	defer f.Close()
	for _, p := range m.Params.All() {
		if t, ok := f.Tensor(p.Name); !ok || !slices.Equal(t.Shape, p.Shape) {
			return Description{}, fmt.Errorf("%s: tensor %q is missing or misshapen: %v, want %v", path, p.Name, t.Shape, p.Shape)
		}
	}
	d := Description{Config: m.Config, Parameters: m.Params.Count()}
	state, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	var s trainerState
	if err == nil {
		err = json.Unmarshal(state, &s)
	}
	d.Step = s.Step
	return d, err
}
