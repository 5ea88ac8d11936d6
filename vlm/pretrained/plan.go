package pretrained

import (
	"errors"
	"fmt"

	"patchwork/vlm"
)

// Plan describes the model of a path with its weights stored as the options say. Of a folder only
// config.json is read, so that its weights need not be there.
func Plan(path string, o LoadOptions) (*vlm.Model, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Adapter != "" {
		return nil, errors.New("--adapter cannot be planned; its base alone can")
	}
	if isFile(path) {
		return planFile(path, o)
	}
	config, err := planConfig(path)
	if err != nil {
		return nil, err
	}
	m, err := vlm.NewModel(config, vlm.Init{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	o.store(m, nil)
	return m, nil
}

// planConfig reads the configuration of a folder.
func planConfig(path string) (vlm.Config, error) {
	isDecoder, err := IsDecoder(path)
	switch {
	case err != nil:
		return vlm.Config{}, err
	case !isDecoder:
		return vlm.ReadConfig(path)
	}
	p, err := readHuggingFace(path)
	if err != nil {
		return vlm.Config{}, err
	}
	return p.Config(), nil
}

func planFile(path string, o LoadOptions) (*vlm.Model, error) {
	p, err := openGGUF(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	config := p.Config()
	if p.model != nil {
		config = *p.model
	}
	m, err := vlm.NewModel(config, vlm.Init{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	o.store(m, p.format)
	return m, nil
}
