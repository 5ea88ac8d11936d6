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
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
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
}

// Template is a model's chat template. It is safe for concurrent use.
type Template struct {
	source string
	names  map[string]string // bos_token and the like, as the template sees them
	parsed *exec.Template
}

// Load reads the template of a model's directory: chat_template.jinja where there
// is one, else the chat_template of tokenizer_config.json.
func Load(dir string) (*Template, error) {
	config, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	jinja, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
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
func Untemplated(config []byte) (*Template, error) {
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
func Parse(source string, names map[string]string) (t *Template, err error) {
	defer recovered(&err)
	parsed, err := compile(source)
	if err != nil {
		return nil, &TemplateError{cut(err.Error())}
	}
	return &Template{source: source, names: names, parsed: parsed}, nil
}

// EOSToken returns the tokenizer's eos_token, "" where it has none.
func (t *Template) EOSToken() string { return t.names["eos_token"] }

// BOSToken returns the tokenizer's bos_token, "" where it has none.
func (t *Template) BOSToken() string { return t.names["bos_token"] }

// Render returns the text of a conversation as Hugging Face's apply_chat_template
// gives it. Images are not rendered; see Encoder.
func (t *Template) Render(messages []Message, o Options) (text string, err error) {
	if t.Empty() {
		return "", ErrNoTemplate
	}
	defer recovered(&err)
	m, variables := newMeter(messages), t.variables(messages, o)
	variables[meterName] = m
	if err := t.parsed.Execute(m, exec.NewContext(variables)); err != nil {
		return "", &TemplateError{cut(err.Error())}
	}
	return m.text.String(), nil
}

func (t *Template) variables(messages []Message, o Options) map[string]any {
	list := make([]any, len(messages))
	for i, m := range messages {
		one := map[string]any{"role": m.Role, "content": m.Content}
		if m.Reasoning != "" {
			one["reasoning_content"] = m.Reasoning
		}
		list[i] = one
	}
	vars := map[string]any{"messages": list, "add_generation_prompt": o.AddGenerationPrompt}
	if o.Thinking != nil {
		vars["enable_thinking"] = *o.Thinking
	}
	for name, token := range t.names {
		vars[name] = token
	}
	return vars
}

// cut shortens what the engine says: it may quote the whole template.
func cut(reason string) string {
	const most = 300
	if len(reason) <= most {
		return reason
	}
	return strings.ToValidUTF8(reason[:most/2], "") + " … " + strings.ToValidUTF8(reason[len(reason)-most/2:], "")
}

// recovered makes an error of a panic inside the template engine.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = &TemplateError{fmt.Sprint(r)}
	}
}
