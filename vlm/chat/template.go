// Package chat turns conversations into ids by the model's own chat template, the
// Jinja text in its tokenizer_config.json.
//
// Whatever users write stays text: the name of a control token inside a message
// never becomes that token. For messages without such names the ids are those of
// Hugging Face's apply_chat_template followed by its tokenizer.
package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"patchwork/internal/smallfile"
	"patchwork/vlm/chat/jinja"
)

// ErrNoTemplate says that a model has no chat template.
var ErrNoTemplate = errors.New("the model has no chat_template; give the prompt as it is (--raw)")

// TemplateError is a chat template that cannot be read or fails on messages.
type TemplateError struct{ Reason string }

func (e *TemplateError) Error() string { return "chat template: " + e.Reason }

// Message is one message of a conversation.
type Message struct {
	Role    string // system, user or assistant
	Content string
	// Reasoning is what the assistant thought first; most templates ignore it.
	Reasoning string
	// Images is the number of pictures directly before Content.
	Images int
}

// Options are the switches of a template.
type Options struct {
	AddGenerationPrompt bool  // end where the assistant begins to speak
	Thinking            *bool // enable_thinking; nil leaves it to the template
	// Tools and Documents are JSON arrays as OpenAI's API has them, Extra an object of
	// further variables; nil: none. Keys keep their order.
	Tools, Documents, Extra json.RawMessage

	// imageParts gives templates of content parts an {"type": "image"} for every
	// picture, for which the template writes a text of its own.
	imageParts bool
}

// Template is a model's chat template. It is safe for concurrent use.
type Template struct {
	source string
	names  map[string]string // bos_token and the like, as the template sees them
	parsed *jinja.Template
	parts  *partsProbe
}

// Load reads the template of a model's directory: chat_template.jinja where there
// is one, else the chat_template of tokenizer_config.json.
func Load(dir string) (*Template, error) {
	config, err := smallfile.Read(filepath.Join(dir, "tokenizer_config.json"), smallfile.Config)
	if err != nil {
		return nil, err
	}
	jinja, err := smallfile.Read(filepath.Join(dir, "chat_template.jinja"), smallfile.Config)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return ParseFiles(config, jinja)
}

// ParseFiles reads the contents of a tokenizer_config.json and of a
// chat_template.jinja, which is nil where there is none and goes before.
func ParseFiles(config, jinja []byte) (*Template, error) {
	if jinja == nil {
		return ParseConfig(config)
	}
	names, err := tokenNames(config)
	if err != nil {
		return nil, err
	}
	return Parse(string(jinja), names)
}

// ParseConfig reads the contents of a tokenizer_config.json. The error is
// ErrNoTemplate where it has no chat template.
func ParseConfig(config []byte) (*Template, error) {
	names, err := tokenNames(config)
	if err != nil {
		return nil, err
	}
	var f struct {
		ChatTemplate json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(config, &f); err != nil {
		return nil, &TemplateError{err.Error()}
	}
	source, err := defaultTemplate(f.ChatTemplate)
	if err != nil {
		return nil, err
	}
	return Parse(source, names)
}

// Untemplated is what a model without a chat template has: the names of its special
// tokens in tokenizer_config.json. Rendering fails with ErrNoTemplate.
func WithoutTemplate(config []byte) (*Template, error) {
	names, err := tokenNames(config)
	return &Template{names: names}, err
}

// Empty says that there is no template.
func (t *Template) Empty() bool { return t.parsed == nil }

// defaultTemplate reads a template, or a list of named ones.
func defaultTemplate(raw json.RawMessage) (string, error) {
	var source string
	if json.Unmarshal(raw, &source) == nil && source != "" {
		return source, nil
	}
	var list []struct{ Name, Template string }
	if json.Unmarshal(raw, &list) == nil {
		for _, t := range list {
			if t.Name == "default" {
				return t.Template, nil
			}
		}
	}
	return "", ErrNoTemplate
}

// tokenNames reads eos_token and the like, each a string or {"content": …}.
func tokenNames(config []byte) (map[string]string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, &TemplateError{"tokenizer_config.json: " + err.Error()}
	}
	names := map[string]string{}
	for key, raw := range all {
		var text string
		var object struct{ Content string }
		switch {
		case !strings.HasSuffix(key, "_token"):
		case json.Unmarshal(raw, &text) == nil && text != "":
			names[key] = text
		case json.Unmarshal(raw, &object) == nil && object.Content != "":
			names[key] = object.Content
		}
	}
	return names, nil
}

// Parse compiles a template's Jinja text. names are the special tokens that the
// template may use, such as "eos_token".
func Parse(source string, names map[string]string) (*Template, error) {
	parsed, err := jinja.Parse(source)
	if err != nil {
		return nil, &TemplateError{truncate(err.Error())}
	}
	return &Template{source: source, names: names, parsed: parsed, parts: &partsProbe{}}, nil
}

// EOSToken returns the tokenizer's eos_token, "" where it has none.
func (t *Template) EOSToken() string { return t.names["eos_token"] }

// BOSToken returns the tokenizer's bos_token, "" where it has none.
func (t *Template) BOSToken() string { return t.names["bos_token"] }

// Render returns the text of a conversation as Hugging Face's apply_chat_template
// gives it. Images are not rendered; see Encoder.
func (t *Template) Render(messages []Message, o Options) (string, error) {
	r, err := t.render(messages, o)
	return r.text, err
}

// rendering is a rendered conversation.
type rendering struct {
	text string
	// generated are the parts of text that the template marks as the assistant's by
	// {% generation %}, what transformers' return_assistant_tokens_mask goes by.
	generated []span
	// misplaced counts blocks of {% generation %} whose place in the text is not known,
	// because they stand inside a macro or the like.
	misplaced int
}

// render renders the contents as texts or as parts, whichever the template shows.
func (t *Template) render(messages []Message, o Options) (rendering, error) {
	if t.Empty() {
		return rendering{}, ErrNoTemplate
	}
	parts, err := t.partsRoles()
	if err != nil {
		return rendering{}, err
	}
	r, err := t.renderAs(messages, o, parts, maxTime)
	if failed := (*jinja.Error)(nil); errors.As(err, &failed) {
		return rendering{}, &TemplateError{truncate(failed.Error())}
	}
	return r, err
}

// renderAs renders the contents of some roles as parts. The error may be a
// *jinja.Error.
func (t *Template) renderAs(messages []Message, o Options, parts partsRoles, most time.Duration) (rendering, error) {
	variables, err := t.variables(messages, o, parts)
	if err != nil {
		return rendering{}, err
	}
	result, err := t.parsed.Render(variables, limits(messages, o, most), time.Now)
	if err != nil {
		return rendering{}, err
	}
	out := rendering{text: result.Text, misplaced: result.Misplaced}
	for _, s := range result.Generated {
		out.generated = append(out.generated, span{s.Lo, s.Hi})
	}
	return out, nil
}

// What honest templates need is far below these.
const (
	maxTime         = 5 * time.Second
	maxGrowth       = 16      // times the messages' bytes, for the result and for each value
	extraBytes      = 1 << 20 // bytes besides
	maxTotal        = 64      // times the messages' bytes, for all values together
	extraTotalBytes = 128 << 20
)

func limits(messages []Message, o Options, most time.Duration) jinja.Limits {
	size := len(o.Tools) + len(o.Documents) + len(o.Extra)
	for _, one := range messages {
		size += len(one.Content) + len(one.Reasoning) + len(one.Role)
	}
	return jinja.Limits{Time: most, Size: maxGrowth*size + extraBytes, Total: maxTotal*size + extraTotalBytes}
}

// cut shortens what the engine says: a template's own message may be long.
func truncate(reason string) string {
	const most = 300
	if len(reason) <= most {
		return reason
	}
	return strings.ToValidUTF8(reason[:most/2], "") + " … " + strings.ToValidUTF8(reason[len(reason)-most/2:], "")
}
