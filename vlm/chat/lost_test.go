package chat_test

import (
	"errors"
	"strings"
	"testing"

	"patchwork/vlm/chat"
)

// TestNothingIsLost: what a message says is in the prompt, or the template is refused.
func TestNothingIsLost(t *testing.T) {
	const open, shut = "{% for m in messages %}<|{{ m.role }}|>", "</s>{% endfor %}"
	for _, test := range []struct {
		name, template string
		want           string // in the error; "" = all is kept
	}{
		{"all", open + "{{ m.content }}" + shut, ""},
		{"trimmed", open + "{{ m.content | trim }}" + shut, ""},
		{"in capitals", open + "{{ m.content | upper }}" + shut, ""},
		{"the system message behind the first question", "{% for m in messages[1:] %}<|{{ m.role }}|>{{ m.content }}{% if loop.first %} ({{ messages[0].content }}){% endif %}</s>{% endfor %}", ""},
		{"reasoning left out", open + "{{ m.content.split('</think>')[-1] }}" + shut, ""},
		{"no content", open + shut, "message 1, the system's"},
		{"parts of the content", open + "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}" + shut, ""},
		{"no system message", "{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}</s>{% endif %}{% endfor %}", "the system's, says (\"Be brief.\")"},
		{"the last question alone", "<|user|>{{ messages[-2].content }}<|assistant|>{{ messages[-1].content }}", "message 1"},
		{"the beginning of each", open + "{{ m.content[:7] }}" + shut, "message 1"},
		{"no answers", open + "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}" + shut, "the assistant's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tok := tokenizerWith(t, []string{"</s>", "<|user|>", "<|assistant|>", "<|system|>"}, "<x>")
			template, err := chat.Parse(test.template, map[string]string{"eos_token": "</s>"})
			if err != nil {
				t.Fatal(err)
			}
			e, err := chat.NewEncoder(tok, template, 0)
			if err != nil {
				t.Fatal(err)
			}
			system := "Be brief."
			_, err = e.Conversation(chat.Conversation{System: &system, Turns: []chat.Turn{{User: "What colour is it?", Assistant: "<think>sky</think>It is blue."}, {User: "Is it day?", Assistant: "It is day."}}})
			var bad *chat.TemplateError
			if (err == nil) != (test.want == "") || err != nil && (!errors.As(err, &bad) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
