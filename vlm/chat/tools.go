package chat

import (
	"encoding/json"
	"slices"
	"strings"

	"patchwork/vlm/chat/jinja"
)

// ToolCallOpen and ToolCallClose are around a call of a tool in an answer, as in Qwen3: a JSON object
// with its name and arguments.
const (
	ToolCallOpen  = "<tool_call>"
	ToolCallClose = "</tool_call>"
)

// CallsTools reports whether the template tells the model of tools, and to call them between
// ToolCallOpen and ToolCallClose.
func (t *Template) CallsTools() bool {
	return strings.Contains(t.source, "tools") && strings.Contains(t.source, ToolCallOpen)
}

// toolTexts returns the texts within tools and calls of tools, which are JSON.
func toolTexts(messages []Message, o Options) (texts []string) {
	add := func(raw json.RawMessage) {
		if v, err := jinja.FromJSON(raw); err == nil { // variables reports it
			mapTexts(v, func(text string) string {
				texts = append(texts, text)
				return text
			})
		}
	}
	add(o.Tools)
	for _, m := range messages {
		add(m.ToolCalls)
	}
	return texts
}

// hasSpecials reports whether one of the texts has the name of a special token.
func (e *Encoder) hasSpecials(texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		return slices.ContainsFunc(e.specials, func(name string) bool { return strings.Contains(text, name) })
	})
}

// mapTexts applies a function to all texts within a value, keys too.
func mapTexts(v jinja.Value, f func(string) string) jinja.Value {
	switch v := v.(type) {
	case string:
		return f(v)
	case *jinja.List:
		out := jinja.NewList()
		for _, item := range v.Items {
			out.Items = append(out.Items, mapTexts(item, f))
		}
		return out
	case *jinja.Dict:
		out := jinja.NewDict()
		for key, value := range v.All() {
			out.Set(f(key), mapTexts(value, f))
		}
		return out
	}
	return v
}
