package vlm

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// Language is how a model reads and writes text: its tokenizer, with <|image|>
// added, and its chat template.
type Language struct {
	*chat.Encoder
	Tokenizer *tokenizer.Tokenizer

	patches  int     // tokens of a picture; 0 = text alone
	added    bool    // the tokenizer had no <|image|> of its own
	bare     bool    // there is no chat template
	bos      string  // the tokenizer's bos_token, "" where it has none
	ends     []int32 // the tokens that end an answer; the template's own first
	config   []byte  // tokenizer_config.json
	template []byte  // chat_template.jinja; nil where the template stands in config
}

//go:embed presets
var presets embed.FS

// loadLanguage reads the tokenizer and the template of a model's directory.
// patches is the number of tokens of a picture.
func loadLanguage(dir string, patches int) (*Language, error) {
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
		template, err = chat.Untemplated(config)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	l, err := newLanguage(tok, template, patches, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	l.template = jinja
	named, err := readEnds(dir, tok.Len())
	l.endWith(template.EOSToken(), named)
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
	return indented(config)
}

// newLanguage joins a tokenizer and a template; config is tokenizer_config.json.
func newLanguage(tok *tokenizer.Tokenizer, template *chat.Template, patches int, config []byte) (*Language, error) {
	own := tok.Len()
	encoder, err := chat.NewEncoder(tok, template, patches)
	if err != nil {
		return nil, err
	}
	return &Language{Encoder: encoder, Tokenizer: tok, patches: patches, added: tok.Len() > own, bare: template.Empty(), bos: template.BOSToken(), config: config}, nil
}

// presetLanguage is a preset's own small tokenizer and template.
func presetLanguage(preset string, patches int) (*Language, error) {
	text, err := presets.ReadFile("presets/" + preset + "/tokenizer.json")
	if err != nil {
		return nil, fmt.Errorf("preset %q has no tokenizer of its own: --decoder must name a model", preset)
	}
	config, err := presets.ReadFile("presets/" + preset + "/tokenizer_config.json")
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
	l, err := newLanguage(tok, template, patches, config)
	if err == nil {
		l.endWith(template.EOSToken(), nil)
	}
	return l, err
}

// save writes the tokenizer's files into a model's directory.
func (l *Language) save(dir string) error {
	if err := l.Tokenizer.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	if l.template != nil {
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), l.template, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), l.config, 0o644)
}

// What stands before a text that goes to the model without its chat template.
const (
	BOSAuto = "auto" // what the tokenizer puts around a text
	BOSYes  = "yes"  // the tokenizer's bos_token
	BOSNo   = "no"   // nothing
)

// around returns the ids before and behind a text; bos is one of the above.
func (l *Language) around(bos string) (before, behind []int32, err error) {
	switch bos {
	case BOSNo:
		return nil, nil, nil
	case BOSYes:
		id, ok := l.Tokenizer.ID(l.bos)
		if !ok {
			return nil, nil, errors.New("the model has no bos_token that could stand before the text; leave --bos out")
		}
		return []int32{id}, nil, nil
	}
	before, behind = l.Tokenizer.Around()
	return before, behind, nil
}

// Raw encodes a text as it is, control tokens included, behind so many pictures. What the
// tokenizer puts behind a text is left out, as the text goes on.
func (l *Language) Raw(text string, images int, bos string) (chat.Tokens, error) {
	before, _, err := l.around(bos)
	if err != nil {
		return chat.Tokens{}, err
	}
	ids, err := l.Tokenizer.EncodeTrusted(text)
	if err != nil {
		return chat.Tokens{}, err
	}
	if len(before) > 0 && len(ids) > 0 && ids[0] == before[0] {
		before = nil // the text has it already
	}
	t := chat.Tokens{IDs: slices.Clone(before)}
	for range images {
		t.Images = append(t.Images, len(t.IDs))
		for range l.patches {
			t.IDs = append(t.IDs, l.ImageID())
		}
	}
	t.IDs = append(t.IDs, ids...)
	t.Answer = make([]bool, len(t.IDs))
	return t, nil
}
