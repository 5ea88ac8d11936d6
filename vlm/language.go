package vlm

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

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
	ends     []int32 // what generation stops at besides the end of turn
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
	config, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	jinja, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	template, err := chat.Load(dir)
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
	l.ends, err = generationEnds(dir)
	return l, err
}

// generationEnds reads the eos_token_id of generation_config.json, where there is
// one: an id or a list of them.
func generationEnds(dir string) ([]int32, error) {
	path := filepath.Join(dir, "generation_config.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var c struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var one int32
	var several []int32
	switch {
	case len(c.EOS) == 0 || json.Unmarshal(c.EOS, &several) == nil: // absent, null or a list
		return several, nil
	case json.Unmarshal(c.EOS, &one) == nil:
		return []int32{one}, nil
	}
	return nil, fmt.Errorf("%s: eos_token_id is %s, want an id or a list of them", path, c.EOS)
}

// Ends says whether generation stops at a token: the end of a turn, or what the
// model's generation_config.json lists.
func (l *Language) Ends(id int32) bool { return id == l.EndOfTurn() || slices.Contains(l.ends, id) }

// generationConfig is generation_config.json.
func (l *Language) generationConfig() map[string]any {
	return map[string]any{"eos_token_id": l.endIDs(), "pad_token_id": l.EndOfTurn()}
}

// endIDs are the tokens that generation stops at, for generation_config.json: an
// id, or a list of several.
func (l *Language) endIDs() any {
	ids := []int32{l.EndOfTurn()}
	for _, id := range l.ends {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 1 {
		return ids[0]
	}
	return ids
}

// newLanguage joins a tokenizer and a template; config is tokenizer_config.json.
func newLanguage(tok *tokenizer.Tokenizer, template *chat.Template, patches int, config []byte) (*Language, error) {
	own := tok.Len()
	encoder, err := chat.NewEncoder(tok, template, patches)
	if err != nil {
		return nil, err
	}
	return &Language{Encoder: encoder, Tokenizer: tok, patches: patches, added: tok.Len() > own, bare: template.Empty(), config: config}, nil
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
	return newLanguage(tok, template, patches, config)
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

// Raw encodes a text as it is, control tokens included, behind so many pictures.
func (l *Language) Raw(text string, images int) chat.Tokens {
	var t chat.Tokens
	for range images {
		t.Images = append(t.Images, len(t.IDs))
		for range l.patches {
			t.IDs = append(t.IDs, l.ImageID())
		}
	}
	t.IDs = append(t.IDs, l.Tokenizer.EncodeTrusted(text)...)
	t.Answer = make([]bool, len(t.IDs))
	return t
}
