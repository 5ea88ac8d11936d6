package chat_test

import (
	"errors"
	"strings"
	"testing"

	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// A template that drops a message's content is an error.
func TestDroppedContent(t *testing.T) {
	const open, shut = "{% for m in messages %}<|{{ m.role }}|>", "</s>{% endfor %}"
	for _, test := range []struct {
		name, template string
		want           string // in the error; "": nothing is dropped
	}{
		{"all", open + "{{ m.content }}" + shut, ""},
		{"trimmed", open + "{{ m.content | trim }}" + shut, ""},
		{"in capitals", open + "{{ m.content | upper }}" + shut, ""},
		{"the system message after the first question", "{% for m in messages[1:] %}<|{{ m.role }}|>{{ m.content }}{% if loop.first %} ({{ messages[0].content }}){% endif %}</s>{% endfor %}", ""},
		{"reasoning left out", open + "{{ m.content.split('</think>')[-1] }}" + shut, ""},
		{"no content", open + shut, "message 1 by the system"},
		{"parts of the content", open + "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}" + shut, ""},
		{"no system message", "{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}</s>{% endif %}{% endfor %}", "by the system (\"Be brief.\")"},
		{"the last question alone", "<|user|>{{ messages[-2].content }}<|assistant|>{{ messages[-1].content }}", "message 1"},
		{"the beginning of each", open + "{{ m.content[:7] }}" + shut, "message 1"},
		{"no answers", open + "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}" + shut, "by the assistant"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tok := tokenizerWith(t, []string{"</s>", "<|user|>", "<|assistant|>", "<|system|>"}, "<x>")
			e := encoderOf(t, tok, test.template, map[string]string{"eos_token": "</s>"})
			system := "Be brief."
			_, err := e.Conversation(chat.Conversation{System: &system, Turns: []chat.Turn{{User: "What colour is it?", Assistant: "<think>sky</think>It is blue."}, {User: "Is it day?", Assistant: "It is day."}}})
			var bad *chat.TemplateError
			if (err == nil) != (test.want == "") || err != nil && (!errors.As(err, &bad) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Templates that compute with the messages' texts give jinja2's result, in spite of the
// span markers.
func TestTemplatesThatComputeWithContent(t *testing.T) {
	const open, shut = "{% for m in messages %}<|{{ m.role }}|>", "</s>{% endfor %}"
	for _, test := range []struct {
		name, template string
		turns          []chat.Turn
		prompt         string // "": an error
		answers        string
	}{
		{"a length", open + "{{ m.content }} ({{ m.content|length }})" + shut, []chat.Turn{{User: "What?", Assistant: "a red circle"}},
			"<|user|>What? (5)</s><|assistant|>a red circle (12)</s>", "a red circle (12)</s>"},
		{"a beginning", open + "{% if m.content.startswith('A ') %}SHORT {% endif %}{{ m.content }}" + shut, []chat.Turn{{User: "What?", Assistant: "A circle"}, {User: "Why?", Assistant: "So."}},
			"<|user|>What?</s><|assistant|>SHORT A circle</s><|user|>Why?</s><|assistant|>So.</s>", "A circle</s>So.</s>"},
		{"a comparison", open + "{{ m.content }}{% if m.content in ['yes', 'no'] %}!{% endif %}" + shut, []chat.Turn{{User: "red?", Assistant: "yes"}}, "<|user|>red?</s><|assistant|>yes!</s>", "yes!</s>"},
		{"the beginning of a name", open + "{% if m.content.startswith('</s>') %}[end] {% endif %}{{ m.content }}" + shut, []chat.Turn{{User: "</s>?", Assistant: "b"}}, "<|user|>[end] </s>?</s><|assistant|>b</s>", "b</s>"},
		{"numbers", open + "{{ m.content }}{% if m.role == 'assistant' %}={{ m.content|int + 1 }}{% endif %}" + shut, []chat.Turn{{User: "n?", Assistant: "12"}}, "<|user|>n?</s><|assistant|>12=13</s>", ""},
		{"a word that occurs twice", open + "{% if m.content == 'blue' %}blue, {% endif %}{{ m.content }}" + shut, []chat.Turn{{User: "What?", Assistant: "blue"}}, "", ""},
		{"an answer changed by its beginning", open + "{% if m.content[0] == 'b' %}{{ m.content | upper }}{% else %}{{ m.content }}{% endif %}" + shut, []chat.Turn{{User: "What?", Assistant: "blue"}}, "", ""},
		{"one of two equal questions", open + "{% if not (loop.first and messages|length > 3) %}{{ m.content }}{% endif %}" + shut, []chat.Turn{{User: "What?", Assistant: "a"}, {User: "What?", Assistant: "b"}}, "", ""},
		{"a question that is a header's word", "{% for m in messages %}<|{{ m.role }}|>user {% if m.role == 'assistant' %}{{ m.content }}{% endif %}" + shut, []chat.Turn{{User: "user", Assistant: "a"}}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tok := tokenizerWith(t, []string{"</s>", "<|user|>", "<|assistant|>"}, "<x>")
			e := encoderOf(t, tok, test.template, nil)
			got, err := e.Conversation(chat.Conversation{Turns: test.turns})
			if test.prompt == "" {
				var want *chat.TemplateError
				if !errors.As(err, &want) {
					t.Errorf("%q, %v; want a *TemplateError", tok.Decode(got.IDs, false), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if prompt := tok.Decode(got.IDs, false); prompt != test.prompt {
				t.Errorf("prompt %q, want %q", prompt, test.prompt)
			}
			if text := answers(tok, got); test.answers != "" && text != test.answers {
				t.Errorf("answers %q, want %q", text, test.answers)
			}
			if n := count(got.IDs, must(t, tok, "</s>")); n != strings.Count(strings.ReplaceAll(test.prompt, "</s>?", ""), "</s>") {
				t.Errorf("%d ends in %q", n, test.prompt)
			}
		})
	}
}

func must(t *testing.T, tok *tokenizer.Tokenizer, token string) int32 {
	t.Helper()
	id, ok := tok.ID(token)
	if !ok {
		t.Fatalf("no token %s", token)
	}
	return id
}
