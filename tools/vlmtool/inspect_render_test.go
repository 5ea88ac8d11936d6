package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/inspect"
	"patchwork/vlm/pretrained"
)

// TestInspectRender prints conversations of every format as the model reads them.
func TestInspectRender(t *testing.T) {
	model, _ := smallRun(t)
	l, err := pretrained.OpenProcessor(model)
	require.NoError(t, err)
	const image = "<|image|>"
	images := strings.Repeat(image, 64)
	for _, c := range []struct {
		name, text, prompt, answers string
	}{
		{"OpenAI's", `[{"role":"user","content":"red?"},{"role":"assistant","content":"yes"}]`, "<|user|>red?<|assistant|>yes<|end|>", "yes<|end|>"},
		{"in an object", `{"messages":[{"role":"user","content":"red?"},{"role":"assistant","content":"yes"}]}`, "<|user|>red?<|assistant|>yes<|end|>", "yes<|end|>"},
		{"a question", `[{"role":"user","content":"red?"}]`, "<|user|>red?<|assistant|>", ""},
		{"parts", `[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"red?"}]}]`, "<|user|>" + images + "red?<|assistant|>", ""},
		{"FineVision's", `{"images":[{"bytes":"","path":null}],"texts":[{"user":"red?","assistant":"yes"},{"user":"blue?","assistant":"no"}]}`,
			"<|user|>" + images + "red?<|assistant|>yes<|end|><|user|>blue?<|assistant|>no<|end|>", "yes<|end|>no<|end|>"},
		{"FineVision's, a list", `[{"user":"red?","assistant":"yes"}]`, "<|user|>red?<|assistant|>yes<|end|>", "yes<|end|>"},
		{"parts of text, one null", `[{"role":"user","content":[{"type":"text","text":"red"},{"type":"text","text":null},{"type":"text","text":"?"}]}]`, "<|user|>red?<|assistant|>", ""},
		{"nulls of OpenAI's library", `{"tools":null,"messages":[{"role":"user","content":"red?","name":null},{"role":"assistant","content":"yes","tool_calls":[],"refusal":null}]}`,
			"<|user|>red?<|assistant|>yes<|end|>", "yes<|end|>"},
		{"LLaVA's", `{"image":"a.png","conversations":[{"from":"human","value":"<image>\nred?"},{"from":"gpt","value":"yes"}]}`,
			"<|user|>" + images + "red?<|assistant|>yes<|end|>", "yes<|end|>"},
		{"ShareGPT's, a list", `[{"from":"user","value":"red?"},{"from":"assistant","value":"yes"}]`, "<|user|>red?<|assistant|>yes<|end|>", "yes<|end|>"},
		{"a UTF-8 byte order mark", "\xef\xbb\xbf" + `[{"role":"user","content":"red?"}]`, "<|user|>red?<|assistant|>", ""},
		{"UTF-16", utf16Of(`[{"role":"user","content":"red?"}]`), "<|user|>red?<|assistant|>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "messages.json")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o644))
			got := vlmtool("inspect", model, "--render", file)
			var r inspect.Rendered
			if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 0 || strings.Count(got.stdout, "\n") != 1 {
				t.Fatalf("%v: %+v", err, got)
			}
			var answers []int32
			for i, id := range r.IDs {
				if r.Loss[i] {
					answers = append(answers, id)
				}
			}
			if text := l.Tokenizer.Decode(answers, false); r.Prompt != c.prompt || text != c.answers || len(r.Loss) != len(r.IDs) {
				t.Errorf("prompt %q with answers %q, want %q with %q", r.Prompt, text, c.prompt, c.answers)
			}
			if end, _ := l.Tokenizer.ID("<|end|>"); !slices.Equal(r.Ends, []int32{end}) {
				t.Errorf("ends %v, want %v", r.Ends, end)
			}
		})
	}
	for _, c := range []struct{ text, want string }{
		{`{`, "not a single JSON value"}, {`[]`, "no conversation found"}, {`{"texts": 3}`, "no conversation found"},
		{`[{"content":"x"}]`, "message 1 has neither"}, {`[{"user":"x"}]`, "message 1 has neither"},
		{`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"}]}]`, "an image follows text"},
		{`[{"role":"user","content":[{"type":"input_audio"}]}]`, `type "input_audio"`},
		{`[{"role":"user","content":3}]`, "content is 3"},
		{"[{\"role\":\"user\",\"content\":\"a\"}]\n[]", "JSON Lines"}, {`[{"role":"user","content":"a"}] x`, "not a single JSON value"},
		{"[\n{\"role\":\"user\",\"content\":NaN}]", "line 2 is invalid"}, {``, "not a single JSON value"}, {"[{\"role\":\"user\",\"content\":\"\xe9\"}]", "not in UTF-8"},
		{`[{"role":"user","content":"a"},{"role":"assistant"}]`, "message 2 has no content"},
		{`[{"role":"user","content":"a"},{"role":"assistant","content":null}]`, "message 2 is invalid: content is null"},
		{`[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"x"}]}]`, "message 2 is invalid: tool_calls"},
		{`[{"role":"tool","content":"a","tool_call_id":"x"}]`, "tool_call_id"}, {`[{"role":"user","content":"a","name":"x"}]`, "name is not supported"},
		{`[{"role":"assistant","content":"a","refusal":"x"}]`, "refusal"}, {`[{"role":"assistant","content":"a","function_call":{"name":"x"}}]`, "function_call"},
		{`{"tools":[{"type":"function"}],"messages":[{"role":"user","content":"a"}]}`, "tools is not supported"},
		{`{"texts":[{"user":"a","assistant":"b"}],"messages":[{"role":"user","content":"a"}]}`, "a second conversation"},
		{`[{"role":"user","content":[{"type":"text"}]}]`, "has no text"}, {`[{"role":3,"content":"a"}]`, "role is 3"},
		{`[{"from":"tool","value":"a"}]`, `message 1 is from "tool"`}, {`[{"from":"human"}]`, "message 1 has no value"},
		{`{"images":2,"conversations":[{"from":"human","value":"<image>a"}]}`, "there are 2 images"},
		{`{"texts":[{"user":"a","assistant":"b"}],"images":"x"}`, "images is"},
	} {
		file := filepath.Join(t.TempDir(), "messages.json")
		require.NoError(t, os.WriteFile(file, []byte(c.text), 0o644))
		vlmtool("inspect", model, "--render", file).clear(t, cli.ExitFailed, c.want)
	}
	vlmtool("inspect", "--render", "x.json").clear(t, cli.ExitUsage, "PATH is missing")
	vlmtool("inspect", model, "--render", "x.json", "--rows").clear(t, cli.ExitUsage, "one at a time")
	vlmtool("inspect", model, "--render", filepath.Join(t.TempDir(), "no.json")).clear(t, cli.ExitFailed, "no.json")
}

// utf16Of is an ASCII text in UTF-16 with its byte order mark.
func utf16Of(s string) string {
	out := "\xff\xfe"
	for _, c := range s {
		out += string(c) + "\x00"
	}
	return out
}

// TestEvalTextEncodings: a text in UTF-8 and UTF-16 has the same score.
func TestEvalTextEncodings(t *testing.T) {
	model, _ := smallRun(t)
	const text = "what color is the shape? the circle is blue."
	file := filepath.Join(t.TempDir(), "text.txt")
	var first string
	for i, bytes := range []string{text, "\xef\xbb\xbf" + text, utf16Of(text)} {
		require.NoError(t, os.WriteFile(file, []byte(bytes), 0o644))
		got := vlmtool("eval", "--model", model, "--text", file, "--device", "cpu", "--json")
		if i == 0 {
			first = got.stdout
		}
		if got.code != 0 || got.stdout != first || first == "" {
			t.Errorf("%.8q: %+v, want %s", bytes, got, first)
		}
	}
}
