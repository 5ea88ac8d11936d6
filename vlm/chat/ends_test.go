package chat_test

import (
	"slices"
	"strings"
	"testing"

	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// TestAnswerEnds checks that answers end with the token that the template writes, whatever
// eos_token is.
func TestAnswerEnds(t *testing.T) {
	const chatML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
	for _, test := range []struct {
		name, template, eos string
		ends                string // the tokens, one after another
		answers             string // of two turns, "one" and "two"
	}{
		{"ChatML, eos the same", chatML, "<|im_end|>", "<|im_end|>", "one<|im_end|>two<|im_end|>"},
		{"ChatML, eos another", chatML, "<|endoftext|>", "<|im_end|>", "one<|im_end|>two<|im_end|>"},
		{"ChatML, no eos", chatML, "", "<|im_end|>", "one<|im_end|>two<|im_end|>"},
		{"a default system message", "<|im_start|>system\nHelp.<|im_end|>\n" + chatML, "<|endoftext|>", "<|im_end|>", "one<|im_end|>two<|im_end|>"},
		{"eos after an answer", "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} {% else %}ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}", "</s>", "</s>", "one</s>two</s>"},
		{"a line before the end", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n\n<|im_end|>{% endfor %}", "</s>", "<|im_end|>", "one\n\n<|im_end|>two\n\n<|im_end|>"},
		{"words before the end", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }} over.<|im_end|>{% endfor %}", "</s>", "<|im_end|>", "one over.<|im_end|>two over.<|im_end|>"},
		{"headers alone", "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}", "</s>", "", "onetwo"},
		{"headers after a default system message", "<|system|>\nHelp.\n{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}", "</s>", "", "onetwo"},
		{"an end of the last answer alone", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}</s>", "</s>", "</s>", "onetwo\n</s>"},
		{"another end of the last answer", "<|im_start|>system<|im_end|>{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% if loop.last %}<|return|>{% else %}<|im_end|>{% endif %}{% endfor %}", "<|return|>", "<|return|><|im_end|>", "one<|im_end|>two<|return|>"},
		{"a token that is not special", "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<eot>{% endfor %}", "</s>", "<eot>", "one<eot>two<eot>"},
		{"no token at all", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "</s>", "", "onetwo"},
		{"a required system message", "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}" + chatML, "</s>", "<|im_end|>", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tok := tokenizerWith(t, []string{"<|im_start|>", "<|im_end|>", "<|endoftext|>", "</s>", "<|user|>", "<|assistant|>", "<|system|>", "<|return|>"}, "<eot>")
			names := map[string]string{}
			if test.eos != "" {
				names["eos_token"] = test.eos
			}
			e := encoderOf(t, tok, test.template, names)
			if got := tok.Decode(e.AnswerEnds(), false); got != test.ends {
				t.Errorf("ends %q, want %q", got, test.ends)
			}
			if test.answers == "" {
				return
			}
			got, err := e.Conversation(chat.Conversation{Turns: []chat.Turn{{User: "a?", Assistant: "one"}, {User: "b?", Assistant: "two"}}})
			if err != nil {
				t.Fatal(err)
			}
			if text := answers(tok, got); text != test.answers {
				t.Errorf("answers %q, want %q", text, test.answers)
			}
		})
	}
}

// tokenizerWith returns a tokenizer with a token for each byte, the special tokens, and an
// added token that is not special.
func tokenizerWith(t *testing.T, specials []string, plain string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Train(slices.Values([]string{""}), 256+len(specials)+1, append(specials, plain))
	if err != nil {
		t.Fatal(err)
	}
	text, err := tok.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), plain)
	rest := strings.Replace(string(text[at:]), `"special":true`, `"special":false`, 1)
	tok, err = tokenizer.Parse([]byte(string(text[:at]) + rest))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestGenerationMarksAnswers checks that {% generation %} blocks are the answers, as in
// transformers' return_assistant_tokens_mask.
func TestGenerationMarksAnswers(t *testing.T) {
	const open, shut = "{% for m in messages %}<|{{ m.role }}|>", "{% endfor %}"
	for _, test := range []struct{ name, template, want string }{
		{"the words and their end", open + "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}</s>{% endif %}" + shut, "one</s>two</s>"},
		{"the words alone", open + "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}</s>" + shut, "onetwo"},
		{"the last answer alone", open + "{% if m.role == 'assistant' and loop.last %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}</s>{% endif %}" + shut, "two</s>"},
		{"a header too", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}<|assistant|>{{ m.content }}</s>{% endgeneration %}{% else %}<|user|>{{ m.content }}</s>{% endif %}" + shut, "<|assistant|>one</s><|assistant|>two</s>"},
		{"in a macro, at an unknown offset", "{% macro say(m) %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% endmacro %}" + open + "{% if m.role == 'assistant' %}{{ say(m) }}{% else %}{{ m.content }}</s>{% endif %}" + shut, "one</s>two</s>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tok := tokenizerWith(t, []string{"</s>", "<|user|>", "<|assistant|>"}, "<x>")
			e := encoderOf(t, tok, test.template, nil)
			// Names of tokens in a question get span markers during rendering.
			got, err := e.Conversation(chat.Conversation{Turns: []chat.Turn{{User: "</s>a</s>?", Assistant: "one"}, {User: "b?", Assistant: "two"}}})
			if err != nil {
				t.Fatal(err)
			}
			if text := answers(tok, got); text != test.want {
				t.Errorf("answers %q, want %q", text, test.want)
			}
		})
	}
}

// encoderOf returns an encoder with a tokenizer and a template's source.
func encoderOf(t *testing.T, tok *tokenizer.Tokenizer, source string, names map[string]string) *chat.Encoder {
	t.Helper()
	template, err := chat.Parse(source, names)
	if err != nil {
		t.Fatal(err)
	}
	e, err := chat.NewEncoder(tok, template, 0)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
