package pretrained

import (
	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// Description is what a model's folder or a checkpoint holds.
type Description struct {
	Config     vlm.Config `json:"config"`
	Parameters int64      `json:"parameters"`
	Step       int        `json:"step,omitempty"`          // of a checkpoint
	Summed     int        `json:"files_checked,omitempty"` // files that are as SHA256SUMS lists them
}

// describeBare reads a decoder; its tokenizer and chat template must be readable
// too.
func describeBare(path string) (Description, error) {
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

// Describe reads a model's or a bare decoder's folder without its weights, and
// checks that every tensor is there with its shape.
func Describe(dir string) (Description, error) {
	if bare, err := IsDecoder(dir); bare || err != nil {
		if err != nil {
			return Description{}, err
		}
		return describeBare(dir)
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
