package pretrained

import (
	"patchwork/nn/gguf"
	"patchwork/vlm"
)

// Description describes a model folder or a checkpoint.
type Description struct {
	Config       vlm.Config `json:"config"`
	Parameters   int64      `json:"parameters"`
	Step         int        `json:"step,omitempty"`          // of a checkpoint
	FilesChecked int        `json:"files_checked,omitempty"` // files that match SHA256SUMS

	Types map[string]TypeUse `json:"types,omitempty"` // of the tensors of an exported GGUF file
}

// TypeUse is what a type is used for in a file.
type TypeUse struct {
	Tensors int   `json:"tensors"`
	Bytes   int64 `json:"bytes"`
}

func (d *Description) addTensor(e gguf.Entry) {
	if d.Types == nil {
		d.Types = map[string]TypeUse{}
	}
	u := d.Types[e.Type.String()]
	d.Types[e.Type.String()] = TypeUse{u.Tensors + 1, u.Bytes + e.Bytes()}
}

// Describe reads a model or a pretrained decoder without its weights, and checks
// that all tensors exist with the right shapes.
func Describe(path string) (Description, error) {
	p, m, _, err := openForExport(ExportOptions{Model: path})
	if err != nil {
		return Description{}, err
	}
	return Description{Config: m.Config, Parameters: m.Params.Count()}, p.Close()
}

// ReadParam reads the first values of a parameter of a model or decoder by its name, without the prefix of
// the decoder's parameters.
func ReadParam(path, name string, dst []float32) error {
	p, err := OpenAny(path)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.weights.read(name, 0, dst)
}
