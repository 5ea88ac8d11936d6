package checkpoint

import (
	"errors"
	"os"

	"patchwork/vlm/pretrained"
)

// Describe is pretrained.Describe; it also returns the step of a checkpoint.
func Describe(dir string) (pretrained.Description, error) {
	d, err := pretrained.Describe(dir)
	if err != nil || d.Config.TextOnly() { // a decoder without an embedder
		return d, err
	}
	var h Header
	err = ReadState(dir, &h)
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	d.Step = h.Step
	return d, err
}
