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
	if isFile(path) || o.MMProj != "" {
		return planFile(path, o)
	}
	config, err := readFolderConfig(path)
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

// ReadConfig reads the configuration of a model or a decoder, without its weights. mmproj is as for
// OpenParts.
func ReadConfig(path, mmproj string) (vlm.Config, error) {
	if !isFile(path) && mmproj == "" {
		return readFolderConfig(path)
	}
	p, err := OpenParts(path, mmproj)
	if err != nil {
		return vlm.Config{}, err
	}
	defer p.Close()
	return p.wholeOrText(), nil
}

// wholeOrText is the configuration with embedders, if there are any, or of the decoder alone.
func (p *Decoder) wholeOrText() vlm.Config {
	if p.Whole != nil {
		return *p.Whole
	}
	return p.Config()
}

// readFolderConfig reads the configuration of a folder.
func readFolderConfig(path string) (vlm.Config, error) {
	kind, err := folderKind(path)
	switch {
	case err != nil:
		return vlm.Config{}, err
	case kind == modelFolder:
		return vlm.ReadConfig(path)
	case kind == gemmaFolder:
		return readGemmaConfig(path)
	case kind == prefixedFolder:
		p, err := openPrefixed(path)
		if err != nil {
			return vlm.Config{}, err
		}
		return *p.Whole, p.Close()
	}
	p, err := readHuggingFace(path)
	if err != nil {
		return vlm.Config{}, err
	}
	return p.Config(), nil
}

func planFile(path string, o LoadOptions) (*vlm.Model, error) {
	p, err := OpenParts(path, o.MMProj)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	m, err := vlm.NewModel(p.wholeOrText(), vlm.Init{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	o.store(m, p.format)
	return m, nil
}
