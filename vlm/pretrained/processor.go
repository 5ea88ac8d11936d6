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

// loadProcessor reads the tokenizer and the template of a model's directory.
// patches is the number of tokens of a picture.
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
	template, err := chat.ParseFiles(config, jinja)
	if errors.Is(err, chat.ErrNoTemplate) {
		template, err = chat.WithoutTemplate(config)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	l, err := vlm.NewProcessor(tok, template, patches, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	l.ChatTemplate = jinja
	named, err := readEnds(dir, tok.Len())
	l.SetEnds(template.EOSToken(), named)
	return l, err
}

// readTokenizerConfig reads tokenizer_config.json, which may be absent, with the special
// tokens that only special_tokens_map.json names.
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

// PresetProcessor is a preset's own small tokenizer and template.
func PresetProcessor(preset string, patches int) (*vlm.Processor, error) {
	text, err := Presets.ReadFile("presets/" + preset + "/tokenizer.json")
	if err != nil {
		return nil, fmt.Errorf("preset %q has no tokenizer of its own: --decoder must name a model", preset)
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
	l, err := vlm.NewProcessor(tok, template, patches, config)
	if err == nil {
		l.SetEnds(template.EOSToken(), nil)
	}
	return l, err
}

// SaveProcessor writes the tokenizer's files into a model's directory.
func SaveProcessor(l *vlm.Processor, dir string) error {
	if err := l.Tokenizer.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	if l.ChatTemplate != nil {
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), l.ChatTemplate, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), l.TokenizerConfig, 0o644)
}

// OpenProcessor reads how a model reads and writes text, without its weights: that of a
// model's folder, or of a bare decoder as Open takes it.
func OpenProcessor(path string) (*vlm.Processor, error) {
	bare, err := IsDecoder(path)
	if err != nil {
		return nil, err
	}
	if !bare {
		c, err := vlm.ReadConfig(path)
		if err != nil {
			return nil, err
		}
		return loadProcessor(path, c.Vision.Patches())
	}
	p, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Processor(0)
}
