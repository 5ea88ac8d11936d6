package serve

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/serve"
)

// TestChat: a greedy answer has the tokens of a Generator, whatever the form of the request, and a
// seed repeats a sampled one.
func TestChat(t *testing.T) {
	s := tiny(t)
	got := s.chat(t, question("what color is the shape?"))
	prompt, err := small().Processor.Messages([]chat.Message{{Role: "user", Content: "what color is the shape?"}}, chat.Options{AddGenerationPrompt: true})
	require.NoError(t, err)
	g := generate.New(small())
	defer g.Close()
	want, err := g.Generate(t.Context(), prompt, nil, generate.Options{MaxNewTokens: 8})
	require.NoError(t, err)
	text := chat.DecodeAnswer(small().Processor.Tokenizer, want.IDs)
	if answerOf(got, 0) != text || got.at("choices", 0, "finish_reason") != want.Finish || got.at("object") != "chat.completion" || got.at("model") != "tiny" {
		t.Errorf("%v, want %q, %s", got, text, want.Finish)
	}
	if got.at("usage", "prompt_tokens") != float64(len(prompt.IDs)) || got.at("usage", "completion_tokens") != float64(len(want.IDs)) {
		t.Errorf("usage %v, want %d and %d tokens", got.at("usage"), len(prompt.IDs), len(want.IDs))
	}
	for name, same := range map[string]object{
		"parts":                 question([]object{textPart("what color "), textPart("is the shape?")}),
		"unknown fields":        question("what color is the shape?").with("metadata", object{"a": 1}).with("store", true),
		"nulls":                 question("what color is the shape?").with("stop", nil).with("n", nil).with("tools", nil).with("response_format", nil).with("seed", nil),
		"max_completion_tokens": question("what color is the shape?").with("max_tokens", nil).with("max_completion_tokens", 8),
		"text format":           question("what color is the shape?").with("response_format", object{"type": "text"}).with("model", "tiny"),
		"top_k 1":               question("what color is the shape?").with("temperature", 2).with("top_k", 1),
		"top_p 0":               question("what color is the shape?").with("temperature", 1).with("top_p", 0),
	} {
		if again := answerOf(s.chat(t, same), 0); again != text {
			t.Errorf("%s: %q, want %q", name, again, text)
		}
	}
	seeded := question("what color is the shape?").with("temperature", 2).with("seed", -7).with("n", 3)
	first, second := s.chat(t, seeded), s.chat(t, seeded)
	if answerOf(first, 0) == answerOf(first, 1) || answerOf(first, 2) != answerOf(second, 2) || first.at("choices", 3) != nil {
		t.Errorf("%v and %v", first, second)
	}
	if biased := answerOf(s.chat(t, question("what?").with("logit_bias", object{fmt.Sprint(want.IDs[0]): 100})), 0); !strings.HasPrefix(biased, small().Processor.Tokenizer.Decode(want.IDs[:1], true)) {
		t.Errorf("with a bias: %q", biased)
	}
}

// TestImages: each image takes its tokens, in any turn, and the answer depends on them.
func TestImages(t *testing.T) {
	s := tiny(t)
	patches := float64(small().Config.Vision.Patches())
	tokens := func(messages ...object) float64 {
		got := s.chat(t, object{"messages": messages, "temperature": 0, "max_tokens": 4})
		return got.at("usage", "prompt_tokens").(float64)
	}
	user := func(parts ...object) object { return object{"role": "user", "content": parts} }
	system, answer := object{"role": "system", "content": "look"}, object{"role": "assistant", "content": "red"}
	text := textPart("what color is the shape?")
	none := tokens(user(text))
	for name, got := range map[string]float64{
		"one": tokens(user(imagePart(red), text)) - patches, "after the text": tokens(user(text, imagePart(red))) - patches, "two": tokens(user(imagePart(red), text, imagePart(blue))) - 2*patches,
	} {
		if got != none {
			t.Errorf("%s: %g tokens, want %g", name, got, none)
		}
	}
	turns := tokens(system, user(text), answer, user(text))
	if got := tokens(system, user(imagePart(red), text), answer, user(imagePart(blue), text)); got != turns+2*patches {
		t.Errorf("in two turns: %g tokens, want %g", got, turns+2*patches)
	}
	probability := func(part object) float64 {
		return firstLogProb(s.chat(t, question([]object{part, text}).with("logprobs", true)))
	}
	if math.Abs(probability(imagePart(red))-probability(imagePart(blue))) < 2*rounding || math.Abs(probability(imagePart(red))-probability(imagePart(red))) > rounding {
		t.Error("the answer does not depend on the image alone")
	}
}

// rounding is that of sums in another order, where a prompt is partly in the cache.
const rounding = 1e-4

func firstLogProb(o object) float64 {
	p, _ := o.at("choices", 0, "logprobs", "content", 0, "logprob").(float64)
	return p
}

// TestSharedPrefix: a model whose training had each question without the others is asked so, with the
// images of the last message that has some.
func TestSharedPrefix(t *testing.T) {
	runner := newModel(t, "shapes", packing.SharedPrefix)
	s := serveModel(t, runner, serve.Options{Parallel: 1, Queue: 4})
	user := func(parts ...object) object { return object{"role": "user", "content": parts} }
	answer := object{"role": "assistant", "content": "red"}
	alone := func(messages ...object) object {
		return s.chat(t, object{"messages": messages, "temperature": 0, "max_tokens": 4, "logprobs": true})
	}
	want := alone(user(imagePart(red), textPart("is it red?")))
	for name, got := range map[string]object{
		"image before":  alone(user(imagePart(red), textPart("what color?")), answer, user(textPart("is it red?"))),
		"another image": alone(user(imagePart(blue), textPart("what color?")), answer, user(imagePart(red), textPart("is it red?"))),
		"a text":        alone(user(imagePart(blue)), user(imagePart(red)), answer, object{"role": "user", "content": "is it red?"}),
	} {
		if got.at("usage", "prompt_tokens") != want.at("usage", "prompt_tokens") || math.Abs(firstLogProb(got)-firstLogProb(want)) > rounding || answerOf(got, 0) != answerOf(want, 0) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestSound: a clip takes its tokens.
func TestSound(t *testing.T) {
	s := serveModel(t, newModel(t, "words", packing.InConversation), serve.Options{Parallel: 1, Queue: 4})
	part := object{"type": "input_audio", "input_audio": object{"data": wav(), "format": "wav"}}
	none := s.chat(t, question("what word is it?")).at("usage", "prompt_tokens").(float64)
	one := s.chat(t, question([]object{part, textPart("what word is it?")})).at("usage", "prompt_tokens").(float64)
	two := s.chat(t, question([]object{part, textPart("what word is it?"), part})).at("usage", "prompt_tokens").(float64)
	if frames := one - none; frames < 20 || two < one+frames {
		t.Errorf("%g, %g and %g tokens", none, one, two)
	}
	w := s.send("POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]}`)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "takes no images") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestLogProbs: tokens make up the text, and none is more likely than the most likely.
func TestLogProbs(t *testing.T) {
	s := tiny(t)
	got := s.chat(t, question("what color is the shape?").with("logprobs", true).with("top_logprobs", 3))
	tokens, _ := got.at("choices", 0, "logprobs", "content").([]any)
	text := ""
	for i, token := range tokens {
		one := object(token.(map[string]any))
		text += one.at("token").(string)
		if top, _ := one.at("top_logprobs").([]any); len(top) != 3 || one.at("logprob").(float64) > one.at("top_logprobs", 0, "logprob").(float64) || one.at("top_logprobs", 0, "logprob").(float64) > 0 {
			t.Errorf("token %d: %v", i, one)
		}
	}
	if want := answerOf(got, 0); len(tokens) == 0 || strings.ReplaceAll(text, "\uFFFD", "") != strings.ReplaceAll(want, "\uFFFD", "") {
		t.Errorf("tokens %q, want %q", text, want)
	}
}

// TestFormats: answers in a format are JSON of it, sampled from random weights.
func TestFormats(t *testing.T) {
	s := tiny(t)
	schema := func(text string) object {
		return object{"type": "json_schema", "json_schema": object{"name": "x", "strict": true, "schema": json.RawMessage(text)}}
	}
	for seed := range 5 {
		body := question("describe it").with("temperature", 1).with("seed", seed).with("max_tokens", 200)
		for _, c := range []struct {
			schema string
			ok     func(v any) bool
		}{
			{`{"enum": ["red", "blue"]}`, func(v any) bool { return v == "red" || v == "blue" }},
			{`{"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"enum": [1, 2]}}, "required": ["a", "b"], "additionalProperties": false}`,
				func(v any) bool { o, _ := v.(map[string]any); return len(o) == 2 }},
			{`{"type": "integer"}`, func(v any) bool { n, ok := v.(float64); return ok && n == float64(int64(n)) }},
		} {
			got := s.chat(t, body.with("response_format", schema(c.schema)))
			var v any
			if err := json.Unmarshal([]byte(answerOf(got, 0)), &v); err != nil || !c.ok(v) || got.at("choices", 0, "finish_reason") != "stop" {
				t.Errorf("%s: %s, %v", c.schema, got.at("choices", 0), err)
			}
		}
		got := s.chat(t, body.with("response_format", object{"type": "json_object"}))
		if text := answerOf(got, 0); !strings.HasPrefix(text, "{") || got.at("choices", 0, "finish_reason") == "stop" && !json.Valid([]byte(text)) {
			t.Errorf("%s", got.at("choices", 0))
		}
	}
}

// TestStream: the parts of a stream make up the whole answer, for every choice; the usage comes last.
func TestStream(t *testing.T) {
	s := tiny(t)
	body := question("what color is the shape?").with("n", 2).with("temperature", 1).with("seed", 3).with("logprobs", true)
	whole := s.chat(t, body)
	text, err := json.Marshal(body.with("stream", true).with("stream_options", object{"include_usage": true}))
	require.NoError(t, err)
	w := s.send("POST", "/v1/chat/completions", string(text))
	if kind := w.Header().Get("Content-Type"); w.Code != 200 || kind != "text/event-stream" {
		t.Fatalf("%d %s", w.Code, kind)
	}
	chunks, done := events(t, w.Body)
	texts, finishes, tokens := make([]string, 2), make([]any, 2), make([]int, 2)
	for i, c := range chunks[:len(chunks)-1] {
		if c.at("object") != "chat.completion.chunk" || c.at("id") != chunks[0].at("id") || c.at("usage") != nil {
			t.Errorf("chunk %d: %v", i, c)
		}
		choice := int(c.at("choices", 0, "index").(float64))
		part, _ := c.at("choices", 0, "delta", "content").(string)
		texts[choice] += part
		probs, _ := c.at("choices", 0, "logprobs", "content").([]any)
		tokens[choice] += len(probs)
		if finish := c.at("choices", 0, "finish_reason"); finish != nil {
			finishes[choice] = finish
		}
	}
	for i := range 2 {
		want, _ := whole.at("choices", i, "logprobs", "content").([]any)
		if texts[i] != answerOf(whole, i) || finishes[i] != whole.at("choices", i, "finish_reason") || tokens[i] != len(want) {
			t.Errorf("choice %d: %q, %v, %d tokens; want %v", i, texts[i], finishes[i], tokens[i], whole.at("choices", i))
		}
	}
	last := chunks[len(chunks)-1]
	if list, _ := last.at("choices").([]any); !done || len(list) != 0 || last.at("usage", "completion_tokens") != whole.at("usage", "completion_tokens") {
		t.Errorf("at the end: %v, %v", last, done)
	}
}

// TestStop: an answer ends before a stop text.
func TestStop(t *testing.T) {
	s := tiny(t)
	body := question("what color is the shape?").with("temperature", 1).with("seed", 4)
	whole := answerOf(s.chat(t, body), 0)
	runes := []rune(whole)
	stop := string(runes[len(runes)/2])
	got := s.chat(t, body.with("stop", []string{"never", stop}))
	if before, _, _ := strings.Cut(whole, stop); answerOf(got, 0) != before || got.at("choices", 0, "finish_reason") != "stop" {
		t.Errorf("%v, want %q", got, before)
	}
}

// TestCompletions: text completions, of texts and of ids, whole and streamed.
func TestCompletions(t *testing.T) {
	s := tiny(t)
	ids, err := small().Processor.Tokenizer.EncodePlain("what color")
	require.NoError(t, err)
	body := object{"prompt": "what color", "temperature": 0, "logprobs": 2, "max_tokens": 6}
	one := s.ask(t, "/v1/completions", body)
	text, _ := one.at("choices", 0, "text").(string)
	tokens, _ := one.at("choices", 0, "logprobs", "tokens").([]any)
	if text == "" || one.at("object") != "text_completion" || len(tokens) != 6 || one.at("choices", 0, "logprobs", "text_offset", 0) != 0.0 {
		t.Errorf("%v", one)
	}
	both := s.ask(t, "/v1/completions", body.with("prompt", []any{"what color", "is it red?"}).with("n", 2))
	if both.at("choices", 1, "text") != text || both.at("choices", 3, "index") != 3.0 || both.at("choices", 4) != nil {
		t.Errorf("%v", both)
	}
	if byIDs := s.ask(t, "/v1/completions", body.with("prompt", ids)); byIDs.at("choices", 0, "text") != text {
		t.Errorf("%v, want %q", byIDs, text)
	}
	request, err := json.Marshal(body.with("stream", true).with("stream_options", object{"include_usage": true}))
	require.NoError(t, err)
	chunks, done := events(t, s.send("POST", "/v1/completions", string(request)).Body)
	streamed := ""
	for _, c := range chunks {
		part, _ := c.at("choices", 0, "text").(string)
		streamed += part
	}
	if streamed != text || !done || chunks[len(chunks)-1].at("usage", "completion_tokens") != 6.0 {
		t.Errorf("%q, %v, want %q", streamed, chunks[len(chunks)-1], text)
	}
	if short := s.ask(t, "/v1/completions", object{"prompt": "what", "temperature": 0}); short.at("usage", "completion_tokens").(float64) > defaultTokens {
		t.Errorf("%v", short)
	}
}
