package chat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/golden"
	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// gemmaChat is a line of golden/gemma4_chat.
type gemmaChat struct {
	Messages            []json.RawMessage
	Tools               json.RawMessage
	AddGenerationPrompt bool  `json:"add_generation_prompt"`
	EnableThinking      *bool `json:"enable_thinking"`
	SoftTokens          []int `json:"soft_tokens"`
	Rendered, Expanded  string
}

func gemmaChats(t *testing.T) []gemmaChat {
	return golden.Lines[gemmaChat](t, filepath.Join(golden.Dir(t, "gemma4_chat"), "chat.jsonl"))
}

func gemmaTemplate(t *testing.T) *chat.Template {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(golden.Model(t, "Gemma4"), "chat_template.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	template, err := chat.Parse(string(source), map[string]string{"bos_token": "<bos>", "eos_token": "<eos>"})
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// Every conversation, with tools and parts as in the files of other programs.
func TestGoldenGemmaRendered(t *testing.T) {
	template := gemmaTemplate(t)
	for i, c := range gemmaChats(t) {
		extra, err := json.Marshal(map[string]any{"messages": c.Messages})
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Render(nil, chat.Options{AddGenerationPrompt: c.AddGenerationPrompt, Thinking: c.EnableThinking, Tools: c.Tools, Extra: extra})
		if err != nil || got != c.Rendered {
			t.Errorf("conversation %d (%v)\n got %q\nwant %q", i, err, got, c.Rendered)
		}
	}
}

// The conversations that messages can express, encoded: control tokens are one token each, images have
// as many tokens as patches.
func TestGoldenGemmaEncoded(t *testing.T) {
	e := gemmaEncoder(t)
	encoded := 0
	for i, c := range gemmaChats(t) {
		messages, ok := gemmaMessages(t, c)
		if !ok {
			continue
		}
		encoded++
		want := c.Rendered
		if c.Expanded != "" {
			want = c.Expanded
		}
		got, err := e.Messages(messages, chat.Options{AddGenerationPrompt: c.AddGenerationPrompt, Thinking: c.EnableThinking})
		if err != nil {
			t.Errorf("conversation %d: %v", i, err)
			continue
		}
		if text := gemmaVocabulary(t).Decode(got.IDs, false); text != want {
			t.Errorf("conversation %d\n got %q\nwant %q", i, text, want)
		}
		for n, at := range got.Images {
			tokens := got.IDs[at : at+c.SoftTokens[n]]
			if got.Grids[n].Tokens() != c.SoftTokens[n] || slices.ContainsFunc(tokens, func(id int32) bool { return id != e.ImageID() }) {
				t.Errorf("conversation %d: image %d is %v at %d", i, n, got.Grids[n], at)
			}
		}
		for _, token := range gemmaControl {
			id, _ := gemmaVocabulary(t).ID(token)
			if n := count(got.IDs, id); n != strings.Count(want, token) {
				t.Errorf("conversation %d: %s is %d tokens, want %d", i, token, n, strings.Count(want, token))
			}
		}
	}
	if encoded < 15 {
		t.Errorf("%d conversations encoded", encoded)
	}
}

// gemmaMessages returns the messages of a conversation; ok is false if it has tools.
func gemmaMessages(t *testing.T, c gemmaChat) (messages []chat.Message, ok bool) {
	t.Helper()
	grids := c.SoftTokens
	for _, raw := range c.Messages {
		var m struct {
			Role    string
			Content json.RawMessage
			Calls   json.RawMessage `json:"tool_calls"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if m.Role == "tool" || m.Calls != nil || c.Tools != nil {
			return nil, false
		}
		out := chat.Message{Role: m.Role}
		var parts []struct{ Type, Text string }
		if json.Unmarshal(m.Content, &out.Content) != nil {
			if err := json.Unmarshal(m.Content, &parts); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range parts {
			switch p.Type {
			case "audio":
				out.Content += chat.AudioToken
				out.Clips = append(out.Clips, grids[0])
				grids = grids[1:]
			case "image":
				out.Content += chat.ImageToken
				out.Images, out.ImagesInText = out.Images+1, true
				out.Grids = append(out.Grids, chat.Grid{Rows: 1, Cols: grids[0]})
				grids = grids[1:]
			default:
				out.Content += p.Text
			}
		}
		messages = append(messages, out)
	}
	return messages, true
}

// gemmaControl are control tokens of Gemma 4.
var gemmaControl = []string{"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>", "<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "<|video|>", "<|tool>", "<tool|>", "<|tool_response>"}

// gemmaVocabulary is a tokenizer like Gemma 4's, of control tokens and bytes.
func gemmaVocabulary(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	v := tokenizer.Vocabulary{Pre: tokenizer.Gemma4, Tokens: slices.Clone(gemmaControl), Kinds: slices.Repeat([]tokenizer.Kind{tokenizer.KindControl}, len(gemmaControl))}
	for b := range 256 {
		v.Tokens, v.Kinds = append(v.Tokens, fmt.Sprintf("<0x%02X>", b)), append(v.Kinds, tokenizer.KindByte)
	}
	v.Tokens, v.Kinds = append(v.Tokens, "\u2581"), append(v.Kinds, tokenizer.KindNormal)
	tok, err := tokenizer.FromVocabulary(v)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func gemmaEncoder(t *testing.T) *chat.Encoder {
	t.Helper()
	e, err := chat.NewEncoder(gemmaVocabulary(t), gemmaTemplate(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.HearAudio(); err != nil {
		t.Fatal(err)
	}
	return e
}

// A question with the names of control tokens, and of an image, stays text beside a real image.
func TestGemmaControlTokenNamesStayText(t *testing.T) {
	tok, e := gemmaVocabulary(t), gemmaEncoder(t)
	hostile := "a" + strings.Join(gemmaControl, " ") + "b"
	harmless := regexp.MustCompile(`[<|>]`).ReplaceAllString(hostile, "x")
	encode := func(text string) chat.Tokens {
		got, err := e.Messages([]chat.Message{{Role: "user", Content: text, Images: 2}}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got, want := encode(hostile), encode(harmless)
	for id := range int32(len(gemmaControl)) {
		if n := count(got.IDs, id); n != count(want.IDs, id) {
			t.Errorf("%s occurs %d times, want %d", tok.Token(id), n, count(want.IDs, id))
		}
	}
	if text := tok.Decode(got.IDs, false); !strings.Contains(text, hostile) {
		t.Errorf("%q is not in %q", hostile, text)
	}
	if !slices.Equal(got.Images, want.Images) || len(got.Images) != 2 {
		t.Errorf("images at %v, want %v", got.Images, want.Images)
	}
}

// What ends an answer, and what of a conversation is answers, with and without a thought.
func TestGemmaAnswers(t *testing.T) {
	tok, e := gemmaVocabulary(t), gemmaEncoder(t)
	if end, _ := tok.ID("<turn|>"); !slices.Equal(e.AnswerEnds(), []int32{end}) {
		t.Errorf("answers end with %v, want %d", e.AnswerEnds(), end)
	}
	got, err := e.Conversation(chat.Conversation{Images: 1, Turns: []chat.Turn{{User: "Shape?", Assistant: "A circle."}, {User: "Why?", Assistant: "<|channel>thought\nround\n<channel|>It is round."}}})
	if err != nil {
		t.Fatal(err)
	}
	if text := answers(tok, got); text != "A circle.<turn|>It is round.<turn|>" {
		t.Errorf("answers %q", text)
	}
}

// Thinking off, an answer's thought is hidden; on, it is apart from the answer.
func TestGemmaThought(t *testing.T) {
	tok := gemmaVocabulary(t)
	output, err := tok.EncodeTrusted("<|channel>thought\n1+1 is 2\n<channel|>Two.<turn|>")
	if err != nil {
		t.Fatal(err)
	}
	if thought, answer := chat.SplitReasoning(chat.DecodeAnswer(tok, output)); thought != "1+1 is 2" || answer != "Two." {
		t.Errorf("thought %q, answer %q", thought, answer)
	}
	stream, filter, shown := chat.NewAnswerStream(tok), chat.ReasoningFilter{}, map[bool]string{}
	for _, id := range output {
		text, thought := filter.Next(stream.Next(id))
		shown[thought] += text
	}
	if shown[false] != "Two." || strings.TrimSpace(shown[true]) != "1+1 is 2" {
		t.Errorf("streamed %v", shown)
	}
}

// The frames of a video have their times before them, as transformers writes them for Gemma 4.
func TestGemmaVideo(t *testing.T) {
	tok, e := gemmaVocabulary(t), gemmaEncoder(t)
	video := []chat.Frame{{Time: 0, Grid: chat.Grid{Rows: 2, Cols: 3}}, {Time: 75.9, Grid: chat.Grid{Rows: 1, Cols: 2}}, {Time: 3601, Grid: chat.Grid{Rows: 1, Cols: 1}}}
	const frames = "00:00 <|image><|video|><|video|><|video|><|video|><|video|><|video|><image|> 01:15 <|image><|video|><|video|><image|> 60:01 <|image><|video|><image|>"
	for _, c := range []struct {
		message chat.Message
		want    string
		grids   []chat.Grid
	}{
		{chat.Message{Content: " What happens? ", Video: video}, frames + "What happens?", []chat.Grid{{Rows: 2, Cols: 3}, {Rows: 1, Cols: 2}, {Rows: 1, Cols: 1}}},
		{chat.Message{Content: "Is he in it?", Video: video[:1], Images: 1, Grids: []chat.Grid{{Rows: 1, Cols: 2}}},
			"<|image><|image|><|image|><image|>00:00 <|image><|video|><|video|><|video|><|video|><|video|><|video|><image|>Is he in it?", []chat.Grid{{Rows: 1, Cols: 2}, {Rows: 2, Cols: 3}}},
		{chat.Message{Content: "Is <|image|> in it?", Video: video[2:], Images: 1, ImagesInText: true},
			"60:01 <|image><|video|><image|>Is<|image><|image|><|image|><|image|><|image|><image|>in it?", []chat.Grid{{Rows: 1, Cols: 1}, {Rows: 2, Cols: 2}}},
	} {
		c.message.Role = "user"
		got, err := e.Messages([]chat.Message{c.message}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			t.Errorf("%q: %v", c.want, err)
			continue
		}
		if text := tok.Decode(got.IDs, false); text != "<bos><|turn>user\n"+c.want+"<turn|>\n<|turn>model\n<|channel>thought\n<channel|>" || !slices.Equal(got.Grids, c.grids) || len(got.LossMask) != len(got.IDs) {
			t.Errorf("got %q with %v, want %q with %v", text, got.Grids, c.want, c.grids)
		}
	}
	if _, err := e.Messages([]chat.Message{{Role: "user", Content: "no image", Images: 1, ImagesInText: true}}, chat.Options{}); err == nil {
		t.Error("no error for an image that the text does not have")
	}
}
