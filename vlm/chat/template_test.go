package chat

import (
	"slices"
	"strings"
	"testing"

	"patchwork/vlm/tokenizer"
)

func parse(t *testing.T, source string) *Template {
	t.Helper()
	template, err := Parse(source, map[string]string{"bos_token": "<s>", "eos_token": "<e>"})
	if err != nil {
		t.Fatal(err)
	}
	return template
}

var conversation = []Message{
	{Role: "system", Content: "Be brief."},
	{Role: "user", Content: "Hi there"},
	{Role: "assistant", Content: "Yo"},
	{Role: "user", Content: "Bye"},
}

const (
	partsOnly     = "{% for m in messages %}{{ m.role }}:{% for part in m.content %}{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %};{% endfor %}"
	textOrParts   = "{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text if p.type == 'text' else '<image>' }}{% endfor %}{% endif %};{% endfor %}"
	textOnly      = "{% for m in messages %}{{ m.role + ':' + m.content }};{% endfor %}"
	partsOfUsers  = "{% for m in messages %}{{ m.role }}:{% if m.role == 'user' %}{% for p in m.content %}{{ p.text }}{% endfor %}{% else %}{{ m.content }}{% endif %};{% endfor %}"
	partsOfSystem = "{% for m in messages %}{{ m.role }}:{% if m.role == 'system' %}{{ m.content[0]['text'] }}{% else %}{{ m.content }}{% endif %};{% endfor %}"
	partsAsserted = "{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ raise_exception('parts, please') }}{% endif %}{{ m.content | map(attribute='text') | join }};{% endfor %}"
	noSystem      = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.role }}:{{ m.content[0].text }};{% endfor %}"
	shownNowhere  = "{% for m in messages %}{{ m.role }};{% endfor %}"
)

// Contents are passed as strings or parts, whichever the template takes.
func TestContentStringOrParts(t *testing.T) {
	tests := []struct {
		name, source string
		parts        bool
	}{
		{"parts", partsOnly, true}, {"either", textOrParts, false}, {"texts", textOnly, false},
		{"parts of users", partsOfUsers, true}, {"parts of the system", partsOfSystem, true}, {"parts or an error", partsAsserted, true},
	}
	const want = "system:Be brief.;user:Hi there;assistant:Yo;user:Bye;"
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template := parse(t, test.source)
			got, err := template.Render(conversation, Options{})
			roles, _ := template.partsRoles()
			if parts := roles != (partsRoles{}); err != nil || got != want || parts != test.parts {
				t.Errorf("%q (%v), parts %v; want %q, parts %v", got, err, parts, want, test.parts)
			}
		})
	}
	for source, want := range map[string]bool{noSystem: true, shownNowhere: false} {
		roles, err := parse(t, source).partsRoles()
		if parts := roles != (partsRoles{}); err != nil || parts != want {
			t.Errorf("%s: parts %v (%v), want %v", source, parts, err, want)
		}
	}
}

func TestImagesAsParts(t *testing.T) {
	messages := []Message{{Role: "user", Content: ImageToken + ImageToken + "What?", Images: 2}}
	for source, want := range map[string][2]string{
		partsOnly:   {"user:<|image|><|image|>What?;", "user:<image><image>What?;"},
		textOrParts: {"user:<|image|><|image|>What?;", "user:<image><image>What?;"},
	} {
		for i, o := range []Options{{}, {imageParts: true}} {
			if got, err := parse(t, source).Render(messages, o); err != nil || got != want[i] {
				t.Errorf("%s\n got %q (%v)\nwant %q", source, got, err, want[i])
			}
		}
	}
}

func TestVariables(t *testing.T) {
	yes := true
	tests := []struct {
		name, source string
		o            Options
		want         string
	}{
		{"nothing", "{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ enable_thinking is defined }}{{ bos_token }}", Options{}, "NoneNoneFalseFalse<s>"},
		{"switches", "{{ add_generation_prompt }}{{ enable_thinking }}", Options{AddGenerationPrompt: true, Thinking: &yes}, "TrueTrue"},
		{"tools", "{{ tools | tojson }}", Options{Tools: []byte(`[{"z": 1, "a": "<é>"}]`)}, `[{"z": 1, "a": "<é>"}]`},
		{"documents", "{{ documents[0].title }}", Options{Documents: []byte(`[{"title": "T"}]`)}, "T"},
		{"extra", "{{ date }}{{ flags }}", Options{Extra: []byte(`{"date": "today", "flags": {"b": true, "a": null}}`)}, "today{'b': True, 'a': None}"},
		{"a message", "{{ messages[1] }}", Options{}, "{'role': 'user', 'content': 'Hi there'}"},
	}
	for _, test := range tests {
		if got, err := parse(t, test.source).Render(conversation, test.o); err != nil || got != test.want {
			t.Errorf("%s: %q (%v), want %q", test.name, got, err, test.want)
		}
	}
	for name, o := range map[string]Options{
		"tools is not valid JSON": {Tools: []byte("[")}, "tools must be a JSON array": {Tools: []byte("{}")},
		"extra variables must be": {Extra: []byte("[]")}, "extra variables are not valid JSON": {Extra: []byte("{]")},
	} {
		if _, err := parse(t, "x").Render(conversation, o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q in it", err, name)
		}
	}
}

func TestReasoningFields(t *testing.T) {
	got, err := parse(t, "{{ messages[0] }}").Render([]Message{{Role: "assistant", Content: "2", Reasoning: "1+1"}}, Options{})
	if want := "{'thinking': '1+1', 'role': 'assistant', 'content': '2', 'reasoning_content': '1+1'}"; err != nil || got != want {
		t.Errorf("%q (%v), want %q", got, err, want)
	}
}

// The expected texts are those of transformers.
func TestTemplateCorners(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"a blank before a block", "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if true %}[assistant]{% endif %}",
			"[system] Be brief. [user] Hi there [assistant] Yo [user] Bye [assistant]"},
		{"a blank after a token", "{{ bos_token }} {% for m in messages %}Q {{ m.content }}{% endfor %}", "<s> Q Be brief.Q Hi thereQ YoQ Bye"},
		{"generation tags", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}|{% endif %}{% endfor %}",
			"Be brief.|Hi there|Yo<e>Bye|"},
		{"if in brackets", "{{ ('a' if messages else 'b') + messages[1].content }}", "aHi there"},
		{"if in a list", "{{ ['a' if true else 'b'][0] }}", "a"},
		{"a backslash", "{{ '\\\\' }}{{ messages[1].content }}", `\Hi there`},
		{"two targets", "{% set a, b = 1, 2 %}{{ a }}{{ messages[1].content }}", "1Hi there"},
		{"a method of a sum", "{{ ('a' ~ 'b').upper() }}", "AB"},
		{"replace", "{{ messages[1].content.replace('Hi', 'Ho') }}", "Ho there"},
		{"split", "{{ messages[1].content.split()|join('|') }}", "Hi|there"},
		{"split once", "{{ 'a</think>b</think>c'.split('</think>', 1)[1] }}", "b</think>c"},
		{"percent", "{{ '%s!' % messages[1].content }}", "Hi there!"},
		{"tojson", "{{ messages[1]|tojson }}", `{"role": "user", "content": "Hi there"}`},
	}
	for _, test := range tests {
		if got, err := parse(t, test.source).Render(conversation, Options{}); err != nil || got != test.want {
			t.Errorf("%s: %q (%v), want %q", test.name, got, err, test.want)
		}
	}
}

// The spans of {% generation %} are right although span markers surround the names of
// tokens in the messages.
func TestGeneratedSpansWithTokenNames(t *testing.T) {
	template := parse(t, "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}<e>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}")
	messages := []Message{
		{Role: "user", Content: "say <e>"}, {Role: "assistant", Content: "é <e>!"}, {Role: "user", Content: "<e>"}, {Role: "assistant", Content: "so"},
	}
	tok, err := tokenizer.Train(slices.Values([]string{""}), 257, []string{"<e>"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(tok, template, 0)
	if err != nil {
		t.Fatal(err)
	}
	pieces, answers, err := e.render(messages, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range answers {
		got = append(got, join(pieces)[s.lo:s.hi])
	}
	if want := []string{"é <e>!<e>", "so<e>"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
