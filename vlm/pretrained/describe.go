package pretrained

import (
	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// Description describes a model folder or a checkpoint.
type Description struct {
	Config       vlm.Config `json:"config"`
	Parameters   int64      `json:"parameters"`
	Step         int        `json:"step,omitempty"`          // of a checkpoint
	FilesChecked int        `json:"files_checked,omitempty"` // files that match SHA256SUMS
}

// describeDecoder describes a pretrained decoder; its tokenizer and chat template must be
// readable.
func describeDecoder(path string) (Description, error) {
	p, err := Open(path)
	if err != nil {
		return Description{}, err
	}
	defer p.Close()
	if _, err := p.Processor(0); err != nil {
		return Description{}, err
	}
	m, err := vlm.NewModel(p.Config(), vlm.Init{})
	if err != nil {
		return Description{}, err
	}
	return Description{Config: m.Config, Parameters: m.Params.Count()}, p.Check(m)
}

// Describe reads the folder of a model or a pretrained decoder without its weights, and checks
// that all tensors exist with the right shapes.
func Describe(dir string) (Description, error) {
	if isDecoder, err := IsDecoder(dir); isDecoder || err != nil {
		if err != nil {
			return Description{}, err
		}
		return describeDecoder(dir)
	}
	m, _, err := OpenFolder(dir)
	if err != nil {
		return Description{}, err
	}
	set, err := safetensors.OpenSet(dir)
	if err != nil {
		return Description{}, err
	}
	defer set.Close()
	if err := checkTensors(m, dir, set, m.Params.All()); err != nil {
		return Description{}, err
	}
	return Description{Config: m.Config, Parameters: m.Params.Count()}, nil
}
