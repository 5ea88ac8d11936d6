package serve

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"

	"patchwork/vlm/chat"
)

const maxTools = 1 << 20 // bytes

// toolCall is a call of a tool in OpenAI's API.
type toolCall struct {
	Index    *int         `json:"index,omitempty"` // in streams
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON
}

// templateCalls returns calls as templates take them, with the arguments as an object.
func templateCalls(calls []toolCall, at string) (json.RawMessage, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	type function struct {
		Name      string `json:"name"`
		Arguments any    `json:"arguments"`
	}
	var out []map[string]any
	for _, c := range calls {
		if c.Function.Name == "" {
			return nil, missing(at + ".tool_calls.function.name")
		}
		f := function{c.Function.Name, c.Function.Arguments}
		if object := strings.TrimSpace(c.Function.Arguments); json.Valid([]byte(object)) && strings.HasPrefix(object, "{") {
			f.Arguments = json.RawMessage(object)
		}
		out = append(out, map[string]any{"type": "function", "id": c.ID, "function": f})
	}
	return json.Marshal(out)
}

// tools returns the tools that the template is told of; nil: none.
func (s *server) tools(r *chatRequest) (json.RawMessage, error) {
	if !absent(r.Functions) || !absent(r.FunctionCall) {
		return nil, invalid("functions", "'functions' is not supported; use 'tools'").withCode("unsupported_parameter")
	}
	var choice string
	switch {
	case absent(r.ToolChoice):
		choice = "auto"
	case json.Unmarshal(r.ToolChoice, &choice) != nil || choice != "auto" && choice != "none":
		return nil, invalid("tool_choice", "only the values 'auto' and 'none' of 'tool_choice' are supported").withCode("unsupported_value")
	}
	if absent(r.Tools) {
		return nil, nil
	}
	var list []struct {
		Type     string `json:"type"`
		Function *struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(r.Tools, &list) != nil {
		return nil, invalid("tools", "Invalid type for 'tools': expected an array of objects.").withCode("invalid_type")
	}
	for _, t := range list {
		if t.Type != "function" || t.Function == nil || t.Function.Name == "" {
			return nil, invalid("tools", "Invalid 'tools': want {\"type\": \"function\", \"function\": {\"name\": …}}.").withCode("invalid_value")
		}
	}
	switch {
	case len(list) == 0 || choice == "none":
		return nil, nil
	case len(r.Tools) > maxTools:
		return nil, invalid("tools", "the tools have more than %d MiB", maxTools>>20)
	case !s.model.Processor.Template().CallsTools():
		return nil, invalid("tools", "the model's chat template does not know tools").withCode("unsupported_value")
	case r.ResponseFormat != nil && r.ResponseFormat.Type != "text":
		return nil, invalid("response_format", "'response_format' and 'tools' together are not supported").withCode("unsupported_value")
	}
	return r.Tools, nil
}

// toolSplitter separates the text of an answer from the calls of tools after it.
type toolSplitter struct {
	held  string // may be the start of a call
	calls strings.Builder
	found bool
}

// next returns the text of a piece that is no call.
func (t *toolSplitter) next(piece string) string {
	if t.found {
		t.calls.WriteString(piece)
		return ""
	}
	t.held += piece
	if text, call, ok := strings.Cut(t.held, chat.ToolCallOpen); ok {
		t.found, t.held = true, ""
		t.calls.WriteString(chat.ToolCallOpen + call)
		return text
	}
	keep := 0
	for n := min(len(chat.ToolCallOpen)-1, len(t.held)); n > 0 && keep == 0; n-- {
		if strings.HasSuffix(t.held, chat.ToolCallOpen[:n]) {
			keep = n
		}
	}
	text := t.held[:len(t.held)-keep]
	t.held = t.held[len(text):]
	return text
}

// end returns the calls, or else the rest of the text.
func (t *toolSplitter) end() (rest string, calls []toolCall) {
	if !t.found {
		return t.held, nil
	}
	all := t.calls.String()
	if calls = parseCalls(all); calls == nil {
		return all, nil
	}
	return "", calls
}

// parseCalls reads calls of tools; nil if one is not as it should be.
func parseCalls(text string) (calls []toolCall) {
	for strings.TrimSpace(text) != "" {
		before, rest, ok := strings.Cut(text, chat.ToolCallOpen)
		if !ok || strings.TrimSpace(before) != "" {
			return nil
		}
		var body string
		body, text, _ = strings.Cut(rest, chat.ToolCallClose)
		var call struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		}
		if json.Unmarshal([]byte(body), &call) != nil || call.Name == "" {
			return nil
		}
		arguments := string(call.Arguments)
		if json.Unmarshal(call.Arguments, &arguments) != nil {
			arguments = string(call.Arguments) // an object
		}
		if absent(call.Arguments) {
			arguments = "{}"
		}
		calls = append(calls, toolCall{ID: newID("call_"), Type: "function", Function: functionCall{call.Name, arguments}})
	}
	return calls
}

// newID returns a random name.
func newID(prefix string) string {
	var b [12]byte
	rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}
