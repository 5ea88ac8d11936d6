package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"patchwork/vlm/chat/jinja"
)

// variables returns the variables that transformers' render_jinja_template passes to a
// template, in its order. tools and documents are always defined, and None if not given.
func (t *Template) variables(messages []Message, o Options, parts partsRoles) (*jinja.Dict, error) {
	vars, list := jinja.NewDict(), jinja.NewList()
	for _, m := range messages {
		d := m.variables(parts.has(m.Role), o.imageParts)
		if m.ToolCalls != nil {
			calls, err := o.value("tool_calls", m.ToolCalls)
			if err != nil {
				return nil, err
			}
			d.Set("tool_calls", calls)
		}
		list.Items = append(list.Items, d)
	}
	vars.Set("messages", list)
	for name, raw := range map[string]json.RawMessage{"tools": o.Tools, "documents": o.Documents} {
		v, err := o.value(name, raw)
		if err != nil {
			return nil, err
		}
		vars.Set(name, v)
	}
	vars.Set("add_generation_prompt", o.AddGenerationPrompt)
	if o.Thinking != nil {
		vars.Set("enable_thinking", *o.Thinking)
	}
	for name, token := range t.names {
		vars.Set(name, token)
	}
	if len(o.Extra) == 0 {
		return vars, nil
	}
	return vars, addExtra(vars, o.Extra)
}

// value returns a JSON array as a value.
func (o Options) value(name string, raw json.RawMessage) (jinja.Value, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := jinja.FromJSON(raw)
	if err != nil {
		return nil, &TemplateError{name + " is not valid JSON: " + truncate(err.Error())}
	}
	if _, ok := v.(*jinja.List); !ok && v != nil {
		return nil, &TemplateError{name + " must be a JSON array"}
	}
	if o.protect != nil {
		v = mapTexts(v, o.protect)
	}
	return v, nil
}

func addExtra(vars *jinja.Dict, raw json.RawMessage) error {
	v, err := jinja.FromJSON(raw)
	if err != nil {
		return &TemplateError{"the extra variables are not valid JSON: " + truncate(err.Error())}
	}
	d, ok := v.(*jinja.Dict)
	if !ok {
		return &TemplateError{"the extra variables must be a JSON object"}
	}
	for key, value := range d.All() {
		vars.Set(key, value)
	}
	return nil
}

// variables returns a message as a dict. Reasoning has both names that templates read, as
// in transformers' _alias_reasoning_fields.
func (m Message) variables(parts, imageParts bool) *jinja.Dict {
	d := jinja.NewDict()
	if m.Reasoning != "" {
		d.Set("thinking", m.Reasoning)
	}
	d.Set("role", m.Role)
	switch {
	case imageParts && m.placeholders() > 0:
		d.Set("content", m.imageParts())
	case parts:
		d.Set("content", jinja.NewList(textPart(m.Content)))
	default:
		d.Set("content", m.Content)
	}
	if m.Reasoning != "" {
		d.Set("reasoning_content", m.Reasoning)
	}
	return d
}

// imageParts returns the content as a list of parts, which templates of vision-language models
// take: its first ImageTokens, as many as there are images, as images, and the text between them.
func (m Message) imageParts() *jinja.List {
	list := jinja.NewList()
	texts := strings.SplitN(m.Content, ImageToken, m.placeholders()+1)
	for i, text := range texts {
		if text != "" {
			list.Items = append(list.Items, textPart(text))
		}
		if i+1 < len(texts) {
			d := jinja.NewDict()
			d.Set("type", "image")
			list.Items = append(list.Items, d)
		}
	}
	return list
}

func textPart(text string) *jinja.Dict {
	d := jinja.NewDict()
	d.Set("type", "text")
	d.Set("text", text)
	return d
}

// writesImages reports whether the template writes ImageToken for an image among a user's content
// parts, as Gemma 4's does. It may then also strip the texts around it.
func (t *Template) writesImages() bool {
	t.parts.Lock()
	defer t.parts.Unlock()
	if t.parts.writesImages == nil {
		const probe = "probe8151"
		r, err := t.renderAs([]Message{{Role: "user", Content: ImageToken + probe, Images: 1}}, Options{imageParts: true}, partsRoles{}, maxTime)
		writes := err == nil && strings.Contains(r.text, ImageToken+probe)
		t.parts.writesImages = &writes
	}
	return *t.parts.writesImages
}

// partsRoles are the roles whose content a template takes as a list of parts.
type partsRoles struct{ system, user, assistant bool }

func (p partsRoles) has(role string) bool {
	switch role {
	case "user":
		return p.user
	case "assistant":
		return p.assistant
	case "system":
		return p.system
	}
	return p.user // for tool and other roles
}

// partsProbe caches the result of Template.partsRoles.
type partsProbe struct {
	sync.Mutex
	known        bool
	roles        partsRoles
	writesImages *bool // nil: not known yet
}

// partsRoles finds by rendering the roles whose content the template takes as parts: the
// output lacks a text passed as a string, but has it when passed as parts. All renderings
// share the time limit of one. The error is a *TemplateError if they exceed it.
func (t *Template) partsRoles() (partsRoles, error) {
	t.parts.Lock()
	defer t.parts.Unlock()
	if t.parts.known {
		return t.parts.roles, nil
	}
	const probe = "probe8151"
	hello := Message{Role: "user", Content: "hello4031"}
	until := time.Now().Add(maxTime)
	var p partsRoles
	for _, one := range []struct {
		messages []Message
		with     partsRoles
	}{
		{[]Message{{Role: "user", Content: probe}}, partsRoles{user: true}},
		{[]Message{{Role: "system", Content: probe}, hello}, partsRoles{system: true}},
		{[]Message{hello, {Role: "assistant", Content: probe}}, partsRoles{assistant: true}},
	} {
		with := partsRoles{p.system || one.with.system, p.user || one.with.user, p.assistant || one.with.assistant}
		shown, err := t.shows(one.messages, p, probe, until)
		if err != nil {
			return p, err
		}
		if shown {
			continue
		}
		if shown, err = t.shows(one.messages, with, probe, until); err != nil {
			return p, err
		}
		if shown {
			p = with
		}
	}
	t.parts.known, t.parts.roles = true, p
	return p, nil
}

// shows reports whether the rendered messages contain a text; false if the template raises
// an exception.
func (t *Template) shows(messages []Message, parts partsRoles, text string, until time.Time) (bool, error) {
	r, err := t.renderAs(messages, Options{}, parts, time.Until(until))
	var failed *jinja.Error
	if errors.As(err, &failed) && failed.Slow {
		return false, &TemplateError{truncate(failed.Error())}
	}
	printed := strings.Contains(r.text, "'text': '"+text) || strings.Contains(r.text, `"text": "`+text) // the list of parts was printed
	return err == nil && strings.Contains(r.text, text) && !printed, nil
}
