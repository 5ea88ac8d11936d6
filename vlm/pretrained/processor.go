package pretrained

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

//go:embed presets
var Presets embed.FS

// loadProcessor reads the tokenizer and chat template of a model folder. patches is the number of
// tokens of an image.
func loadProcessor(dir string, patches int) (*vlm.Processor, error) {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	config, err := readTokenizerConfig(dir)
	if err != nil {
		return nil, err
	}
	jinja, err := smallfile.Read(filepath.Join(dir, "chat_template.jinja"), smallfile.Config)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	proc, err := newProcessor(tok, config, jinja, patches)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	named, err := readEOS(dir, tok.Len())
	if err != nil {
		return nil, err
	}
	proc.AddEOS(named...)
	proc.Suppressed, err = readSuppressed(dir, tok.Len())
	return proc, err
}

// readTokenizerConfig reads tokenizer_config.json, which is optional, and adds special tokens that
// are only in special_tokens_map.json.
func readTokenizerConfig(dir string) ([]byte, error) {
	files := [2]map[string]json.RawMessage{}
	texts := [2][]byte{}
	for i, name := range []string{"tokenizer_config.json", "special_tokens_map.json"} {
		file := filepath.Join(dir, name)
		text, err := smallfile.Read(file, smallfile.Config)
		if errors.Is(err, os.ErrNotExist) {
			text, err = []byte("{}"), nil
		}
		if err == nil {
			err = json.Unmarshal(text, &files[i])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		texts[i] = text
	}
	config, added := files[0], false
	for key, value := range files[1] {
		if strings.HasSuffix(key, "_token") && isNull(config[key]) {
			config[key], added = value, true
		}
	}
	if !added {
		return texts[0], nil
	}
	return Indented(config)
}

// PresetProcessor returns the processor of a preset that has its own tokenizer.
func PresetProcessor(preset string, patches int) (*vlm.Processor, error) {
	text, err := Presets.ReadFile("presets/" + preset + "/tokenizer.json")
	if err != nil {
		return nil, fmt.Errorf("preset %q has no tokenizer; --decoder must name a model", preset)
	}
	config, err := Presets.ReadFile("presets/" + preset + "/tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Parse(text)
	if err != nil {
		return nil, err
	}
	template, err := chat.ParseConfig(config)
	if err != nil {
		return nil, err
	}
	proc, err := vlm.NewProcessor(tok, template, patches, config)
	if err == nil {
		proc.SetEOS(template.EOSToken(), nil)
	}
	return proc, err
}

// SaveProcessor writes the tokenizer files into a model folder.
func SaveProcessor(proc *vlm.Processor, dir string) error {
	if err := proc.Tokenizer.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	if proc.ChatTemplate != nil {
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), proc.ChatTemplate, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), proc.TokenizerConfig, 0o644)
}

// AudioConfig reads how a model takes sound; it is zero for one that does not, and for a decoder.
func AudioConfig(path string) (vlm.AudioConfig, error) {
	isDecoder, err := IsDecoder(path)
	if err != nil || isDecoder {
		return vlm.AudioConfig{}, err
	}
	c, _, err := openConfig(path)
	return c.Audio, err
}

// OpenProcessor reads the processor of a model folder or a pretrained decoder, without the
// weights.
func OpenProcessor(path string) (*vlm.Processor, error) {
	isDecoder, err := IsDecoder(path)
	if err != nil {
		return nil, err
	}
	if !isDecoder {
		_, proc, err := openConfig(path)
		return proc, err
	}
	p, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Processor(0)
}
