// Package chat encodes conversations as token ids with the model's chat template, the Jinja
// template in its tokenizer_config.json.
//
// The name of a control token in a message is encoded as text, never as that token. For
// messages without such names, the ids are those of Hugging Face's apply_chat_template and
// tokenizer.
package chat

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"patchwork/vlm/chat/jinja"
)

// ErrNoTemplate reports that a model has no chat template.
var ErrNoTemplate = errors.New("the model has no chat_template; use --raw to pass the prompt without one")

// TemplateError reports a chat template that cannot be parsed or rendered.
type TemplateError struct{ Reason string }

func (e *TemplateError) Error() string { return "chat template: " + e.Reason }

// Message is one message of a conversation.
type Message struct {
	Role    string // system, user, assistant or tool
	Content string
	// ToolCalls are the assistant's calls of tools after Content, a JSON array as in OpenAI's API; or nil.
	ToolCalls json.RawMessage
	// Reasoning is the assistant's reasoning before Content; most templates ignore it.
	Reasoning string
	// Images is the number of images directly before Content, or with ImagesInText within, where
	// Content has ImageToken.
	Images       int
	ImagesInText bool
	Grids        []Grid // of the images; nil: each has the encoder's number of tokens
	// Video are the frames of a video, each after its time. They are before Content, after the images
	// that are there too.
	Video []Frame
	// Clips are the tokens of each clip of sound. They replace the AudioTokens of Content if it
	// has as many; otherwise they are directly before it, after the images.
	Clips []int

	clipsWithin bool // Content has AudioTokens for the clips, and for nothing else
}

// Options are the variables of a template besides the messages.
type Options struct {
	AddGenerationPrompt bool  // end with the header of the assistant's answer
	Thinking            *bool // enable_thinking; nil: the template's default
	// Tools and Documents are JSON arrays as in OpenAI's API; Extra is an object of more
	// variables. They may be nil. Keys keep their order.
	Tools, Documents, Extra json.RawMessage

	// imageParts passes the contents with images as content parts: {"type": "image"} for every
	// ImageToken, and texts. The template then writes its own placeholder.
	imageParts bool
	protect    func(string) string // of texts within tools and their calls; nil: as they are
}

// Template is a model's chat template. It is safe for concurrent use.
type Template struct {
	source string
	names  map[string]string // special tokens by variable name, such as bos_token
	parsed *jinja.Template
	parts  *partsProbe
}

// ParseFiles parses the contents of a tokenizer_config.json and a chat_template.jinja, which
// takes precedence and may be nil.
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

// ParseConfig parses the contents of a tokenizer_config.json. The error is ErrNoTemplate if
// it has no chat template.
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

// WithoutTemplate returns the Template of a model without a chat template, with the special
// tokens of its tokenizer_config.json. Rendering it returns ErrNoTemplate.
func WithoutTemplate(config []byte) (*Template, error) {
	names, err := tokenNames(config)
	return &Template{names: names}, err
}

// Empty reports whether the model has no chat template.
func (t *Template) Empty() bool { return t.parsed == nil }

// defaultTemplate parses chat_template: a template, or a list of named ones.
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

// tokenNames parses eos_token and the like, each a string or {"content": …}.
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

// Parse parses a Jinja template. names are its variables for special tokens, such as
// "eos_token".
func Parse(source string, names map[string]string) (*Template, error) {
	parsed, err := jinja.Parse(source)
	if err != nil {
		return nil, &TemplateError{truncate(err.Error())}
	}
	return &Template{source: source, names: names, parsed: parsed, parts: &partsProbe{}}, nil
}

// Source is the template's text.
func (t *Template) Source() string { return t.source }

// SpecialTokens returns the tokenizer's special tokens by variable name, such as "bos_token".
func (t *Template) SpecialTokens() map[string]string { return maps.Clone(t.names) }

// EOSToken returns the tokenizer's eos_token, or "".
func (t *Template) EOSToken() string { return t.names["eos_token"] }

// BOSToken returns the tokenizer's bos_token, or "".
func (t *Template) BOSToken() string { return t.names["bos_token"] }

// Render returns the text of a conversation, as Hugging Face's apply_chat_template does.
// Images are not rendered; see Encoder.
func (t *Template) Render(messages []Message, o Options) (string, error) {
	r, err := t.render(messages, o)
	return r.text, err
}

// rendering is a rendered conversation.
type rendering struct {
	text string
	// generated are the spans of {% generation %} blocks, which mark the assistant's text
	// for transformers' return_assistant_tokens_mask.
	generated []span
	// misplaced counts {% generation %} blocks whose offset is unknown because they are
	// inside a macro or the like.
	misplaced int
}

// render renders contents as strings or as parts, whichever the template takes.
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

// renderAs renders the contents of the roles in parts as parts. The error may be a
// *jinja.Error.
func (t *Template) renderAs(messages []Message, o Options, parts partsRoles, timeout time.Duration) (rendering, error) {
	variables, err := t.variables(messages, o, parts)
	if err != nil {
		return rendering{}, err
	}
	result, err := t.parsed.Render(variables, limits(messages, o, timeout), time.Now)
	if err != nil {
		return rendering{}, err
	}
	out := rendering{text: result.Text, misplaced: result.Misplaced}
	for _, s := range result.Generated {
		out.generated = append(out.generated, span{s.Lo, s.Hi})
	}
	return out, nil
}

// Limits on a rendering, far above what published templates need. The result and each value
// may have maxGrowth times the messages' bytes plus extraBytes; all values together
// maxTotal times plus extraTotalBytes.
const (
	maxTime         = 5 * time.Second
	maxGrowth       = 16
	extraBytes      = 1 << 20
	maxTotal        = 64
	extraTotalBytes = 128 << 20
)

func limits(messages []Message, o Options, timeout time.Duration) jinja.Limits {
	size := len(o.Tools) + len(o.Documents) + len(o.Extra)
	for _, one := range messages {
		size += len(one.ToolCalls) + len(one.Content) + len(one.Reasoning) + len(one.Role)
	}
	return jinja.Limits{Time: timeout, Size: maxGrowth*size + extraBytes, Total: maxTotal*size + extraTotalBytes}
}

// truncate shortens the engine's error messages, which may include a template's own text.
func truncate(reason string) string {
	const limit = 300 // bytes
	if len(reason) <= limit {
		return reason
	}
	return strings.ToValidUTF8(reason[:limit/2], "") + " … " + strings.ToValidUTF8(reason[len(reason)-limit/2:], "")
}
