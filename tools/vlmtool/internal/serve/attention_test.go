package serve

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"net/http"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/serve"
)

const attentionPath = "/v1/attention"

// lookedAt is the response of /v1/attention.
type lookedAt struct {
	Object, Model string
	Images        []struct {
		Index, Width, Height, Rows, Columns int
		Region                              struct{ Left, Top, Width, Height float64 }
	}
	Tokens []struct {
		Text                  string
		Start, End            int
		Image, Prompt, Answer float64
		Weights               [][]float64
	}
	Omitted int `json:"omitted_tokens"`
	Usage   struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
	}
}

// look posts messages, which must succeed.
func (s *testServer) look(t testing.TB, messages ...object) (out lookedAt) {
	t.Helper()
	w := s.send("POST", attentionPath, jsonOf(object{"messages": messages}))
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, token := range out.Tokens {
		if sum := token.Image + token.Prompt + token.Answer; !(math.Abs(sum-1) <= 1e-5) {
			t.Errorf("%q: the shares sum to %g", token.Text, sum)
		}
		patches := 0.0
		if len(token.Weights) != len(out.Images) {
			t.Fatalf("%q: weights of %d images, want %d", token.Text, len(token.Weights), len(out.Images))
		}
		for i, weights := range token.Weights {
			if len(weights) != out.Images[i].Rows*out.Images[i].Columns {
				t.Fatalf("%q: %d weights, want %d rows of %d", token.Text, len(weights), out.Images[i].Rows, out.Images[i].Columns)
			}
			for _, share := range weights {
				patches += share
			}
		}
		if !(math.Abs(patches-token.Image) <= 1e-4) { // rounding of all patches
			t.Errorf("%q: the weights sum to %g, want %g", token.Text, patches, token.Image)
		}
	}
	return out
}

// said is a message of a role.
func said(role string, content any) object { return object{"role": role, "content": content} }

// emptyImage is a black picture of a size.
func emptyImage(w, h int) object {
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		panic(err)
	}
	return urlPart("data:image/png;base64," + base64.StdEncoding.EncodeToString(out.Bytes()))
}

// text joins the tokens of the answer.
func (l lookedAt) text() (text string) {
	for _, token := range l.Tokens {
		text += token.Text
	}
	return text
}

// TestAttention: the weights are those of infer --explain, the tokens are placed in the answer, and the picture
// in the part of it that the model saw.
func TestAttention(t *testing.T) {
	s := tiny(t)
	text := textPart("what color is the shape?")
	answer := "a red größe, blue"
	got := s.look(t, said("system", "look"), said("user", []object{imagePart(red), text}), said("assistant", answer))
	if got.Object != "attention" || got.Model != "tiny" || got.Omitted != 0 || len(got.Images) != 1 || got.Usage.CompletionTokens != 0 || got.Usage.PromptTokens <= 64 {
		t.Errorf("%+v", got.Usage)
	}
	if one := got.Images[0]; one.Index != 0 || one.Width != 64 || one.Height != 64 || one.Rows != 8 || one.Columns != 8 || one.Region.Width != 1 || one.Region.Height != 1 {
		t.Errorf("the picture: %+v", one)
	}
	at, characters := 0, []rune(answer)
	for _, token := range got.Tokens {
		if token.Start > at || token.End < at || token.End > len(characters) {
			t.Errorf("%q is from %d to %d, after %d", token.Text, token.Start, token.End, at)
		}
		if whole := string(characters[token.Start:token.End]); !strings.Contains(token.Text, "\uFFFD") && token.Text != whole {
			t.Errorf("%q is placed at %q", token.Text, whole)
		}
		at = token.End
	}
	if at != len(characters) || !strings.Contains(got.text(), " red") {
		t.Errorf("the tokens are %q, %d characters of %d", got.text(), at, len(characters))
	}
	sameAsExplain(t, s, answer, got)
	wide := s.look(t, said("user", []object{emptyImage(96, 48), text}), said("assistant", "red")).Images[0].Region
	tall := s.look(t, said("user", []object{emptyImage(30, 120), text}), said("assistant", "red")).Images[0].Region
	if wide.Left != 0.25 || wide.Width != 0.5 || wide.Top != 0 || wide.Height != 1 || tall.Top != 0.375 || tall.Height != 0.25 || tall.Width != 1 {
		t.Errorf("the centres of pictures of 96×48 and 30×120 are %+v and %+v", wide, tall)
	}
}

// sameAsExplain compares the attention of words with generate.Explain's.
func sameAsExplain(t *testing.T, s *testServer, answer string, got lookedAt) {
	t.Helper()
	_, request, err := s.prepareAttention([]byte(jsonOf(object{"messages": []object{
		said("system", "look"), said("user", []object{imagePart(red), textPart("what color is the shape?")}), said("assistant", answer)}})))
	require.NoError(t, err)
	want, err := generate.Explain(t.Context(), small(), request.Prompt, request.Images, request.Observe, 100)
	require.NoError(t, err)
	next, characters := 0, []rune(answer)
	for _, word := range want.Words {
		mean, n := make([]float64, 64), 0.0
		for begun := false; next < len(got.Tokens); next++ {
			token := got.Tokens[next]
			if space := characters[token.Start] == ' '; space && begun {
				break
			}
			begun = true
			for i, share := range token.Weights[0] {
				mean[i] += share
			}
			n++
		}
		for i, share := range word.Mean.Patches {
			if !(math.Abs(mean[i]/n-share) <= 2e-6) { // six decimals
				t.Fatalf("%q: patch %d has %g, explain %g", word.Text, i, mean[i]/n, share)
			}
		}
	}
	if next != len(got.Tokens) {
		t.Errorf("%d of %d tokens are in words", next, len(got.Tokens))
	}
}

// TestAttentionImages: pictures have the order of the request; a model of single questions has seen those of the
// last message with some.
func TestAttentionImages(t *testing.T) {
	text := textPart("what color?")
	conversation := []object{
		said("user", []object{imagePart(red), text}), said("assistant", "red"), said("user", []object{imagePart(blue), imagePart(red), text}),
		said("assistant", "blue"), said("user", "are you sure?"), said("assistant", "yes"),
	}
	if got := tiny(t).look(t, conversation...); len(got.Images) != 3 || got.Images[0].Index != 0 || got.Images[2].Index != 2 {
		t.Errorf("%+v", got.Images)
	}
	s := serveModel(t, newModel(t, "shapes", packing.SharedPrefix), serve.Options{Parallel: 1, Queue: 4})
	if got := s.look(t, conversation...); len(got.Images) != 2 || got.Images[0].Index != 1 || got.Images[1].Index != 2 {
		t.Errorf("of single questions: %+v", got.Images)
	}
	alone := s.look(t, said("user", []object{imagePart(blue), imagePart(red), textPart("are you sure?")}), said("assistant", "yes"))
	for i, share := range s.look(t, conversation...).Tokens[0].Weights[1] {
		if want := alone.Tokens[0].Weights[1][i]; !(math.Abs(share-want) <= 2e-6) {
			t.Fatalf("patch %d has %g, the question alone %g", i, share, want)
		}
	}
}

// TestAttentionOmits: a long answer about many patches is cut off, not refused.
func TestAttentionOmits(t *testing.T) {
	s := tiny(t)
	pictures := []object{textPart("what?")}
	for range 3 {
		pictures = append(pictures, imagePart(red))
	}
	s.maxWeights = 3 * 64 * 5
	got := s.look(t, said("user", pictures), said("assistant", "there is a red shape and there is a blue shape"))
	if len(got.Tokens) != 5 || got.Omitted < 3 {
		t.Errorf("%d tokens, %d omitted", len(got.Tokens), got.Omitted)
	}
}

// answered is a conversation with an answer; picture and answer are JSON.
func answered(content, answer string) string {
	return `{"messages":[{"role":"user","content":` + content + `},{"role":"assistant","content":` + answer + `}]}`
}

// TestAttentionErrors: every wrong request has one error, as for chat completions.
func TestAttentionErrors(t *testing.T) {
	s := tiny(t, "key")
	picture := jsonOf([]object{imagePart(red), textPart("what?")})
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"unknown fields", `{"a":1,"stream":true,` + answered(picture, `"red"`)[1:], 200, `"weights"`},
		{"not JSON", "hello", 400, "parse"},
		{"no messages", `{}`, 400, "assistant"},
		{"another model", `{"model":"gpt-4o",` + answered(picture, `"red"`)[1:], 404, "model_not_found"},
		{"no picture", answered(`"what?"`, `"red"`), 400, "no_image"},
		{"no answer", `{"messages":[{"role":"user","content":` + picture + `}]}`, 400, "assistant"},
		{"a question last", `{"messages":[{"role":"assistant","content":"hi"},{"role":"user","content":` + picture + `}]}`, 400, "assistant"},
		{"an empty answer", answered(picture, `""`), 400, "messages[1].content"},
		{"an answer of spaces", answered(picture, `" \n "`), 400, "messages[1].content"},
		{"no content", answered(picture, `null`), 400, "messages[1].content"},
		{"an answer that is a number", answered(picture, `3`), 400, "messages[1].content"},
		{"an answer with a picture", answered(`"what?"`, picture), 400, "only messages of the user"},
		{"a URL", answered(`[{"type":"image_url","image_url":{"url":"http://127.0.0.1/x.png"}}]`, `"red"`), 400, "fetches nothing"},
		{"a bomb", answered(`[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+pngBomb(1<<30, 1<<30)+`"}}]`, `"red"`), 400, "invalid_image"},
		{"a long answer", answered(picture, `"`+strings.Repeat("what color is the shape? ", 300)+`"`), 400, "context_length_exceeded"},
		{"an answer of megabytes", answered(picture, `"`+strings.Repeat("x", 3<<20)+`"`), 400, "context_length_exceeded"},
		{"an answer of control tokens", answered(picture, `"<|image|><|end|>"`), 200, `"weights"`},
	} {
		w := s.send("POST", attentionPath, c.body, "Authorization", "Bearer key")
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %.300s; want %d, %q", c.name, w.Code, w.Body, c.status, c.want)
		}
		if c.status >= 400 && !strings.HasPrefix(w.Body.String(), `{"error":{"message":"`) {
			t.Errorf("%s: %.300s is no error of the API", c.name, w.Body)
		}
	}
	if w := s.send("POST", attentionPath, answered(picture, `"red"`)); w.Code != http.StatusUnauthorized {
		t.Errorf("without a key: %d", w.Code)
	}
	if w := s.send("POST", attentionPath, answered(picture, `"red"`), "Authorization", "Bearer key", "Origin", "https://attacker.example"); w.Code != http.StatusForbidden {
		t.Errorf("from another site's page: %d", w.Code)
	}
	if w := s.send("GET", attentionPath, ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d", w.Code)
	}
	if left := s.bodies.left; left != maxBodies {
		t.Errorf("%d bytes of bodies are not given back", maxBodies-left)
	}
	deaf := serveModel(t, newModel(t, "words", packing.InConversation), serve.Options{Parallel: 1, Queue: 1})
	if w := deaf.send("POST", attentionPath, answered(picture, `"red"`)); w.Code != 400 || !strings.Contains(w.Body.String(), "takes no images") {
		t.Errorf("a model without images: %d %s", w.Code, w.Body)
	}
	if w := s.send("GET", "/metrics", "", "Authorization", "Bearer key"); !strings.Contains(w.Body.String(), `vlmtool_serve_requests_total{endpoint="attention",status="200"} 2`) {
		t.Errorf("/metrics does not count it: %s", w.Body)
	}
}

// TestAttentionFails: errors of the scheduler have the status of the API.
func TestAttentionFails(t *testing.T) {
	picture := jsonOf([]object{imagePart(red), textPart("what?")})
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{&serve.BusyError{}, 429, "rate_limit_exceeded"}, {serve.ErrClosed, 503, "unavailable"}, {errors.New("something else"), 500, "something else"},
		{fmt.Errorf("x: %w", &generate.ProbeError{Patches: 1, Tokens: 2, Bytes: 1 << 40}), 400, "smaller pictures"},
	} {
		for _, script := range []*scripted{{refuse: c.err}, {err: c.err}} {
			if w := serveBy(small(), script).send("POST", attentionPath, answered(picture, `"red"`)); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%v: %d %s, want %d", c.err, w.Code, w.Body, c.status)
			}
		}
	}
}
