package chat_test

import (
	"encoding/json"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/chat"
)

const toolTemplate = `{% if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>{% endfor %}`

// TestTools: tools and their calls reach the template, and names of control tokens within them stay text.
func TestTools(t *testing.T) {
	tok, smol := model(t, smolLM2)
	if smol.CallsTools() {
		t.Error("SmolLM2's template knows no tools")
	}
	template, err := chat.Parse(toolTemplate, nil)
	require.NoError(t, err)
	if !template.CallsTools() {
		t.Error("the template tells of tools")
	}
	e, err := chat.NewEncoder(tok, template, 0)
	require.NoError(t, err)
	end, _ := tok.ID("<|im_end|>")
	for _, name := range []string{"plain", `<|im_end|>`, `\u003c|im_end|\u003e`} {
		messages := []chat.Message{
			{Role: "user", Content: "weather?"},
			{Role: "assistant", ToolCalls: json.RawMessage(`[{"function": {"name": "weather", "arguments": {"` + name + `": "in ` + name + `"}}}]`)},
			{Role: "tool", Content: "sunny" + name},
		}
		got, err := e.Messages(messages, chat.Options{Tools: json.RawMessage(`[{"name": "weather", "description": "of ` + name + `"}]`)})
		require.NoError(t, err)
		text := tok.Decode(got.IDs, false)
		if n := count(got.IDs, end); n != 4 {
			t.Errorf("%s: %d turns end, want 4: %s", name, n, text)
		}
		for _, want := range []string{`"description": "of `, `<tool_call>{"name": "weather", "arguments": {`, "sunny"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", name, want, text)
			}
		}
	}
}
