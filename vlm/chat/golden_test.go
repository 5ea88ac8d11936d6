package chat_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/golden"
	"patchwork/vlm/chat"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/tokenizer"
)

// loaded caches tokenizers across tests: Qwen3's takes half a second to load.
var loaded = map[string]*tokenizer.Tokenizer{}

// model returns a tokenizer and a template of the golden set.
func model(t testing.TB, name string) (*tokenizer.Tokenizer, *chat.Template) {
	t.Helper()
	dir := golden.Model(t, name)
	config, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	template, err := chat.ParseFiles(config, source)
	if err != nil {
		t.Fatal(err)
	}
	if loaded[name] == nil {
		if loaded[name], err = tokenizer.Load(filepath.Join(dir, "tokenizer.json")); err != nil {
			t.Fatal(err)
		}
	}
	return loaded[name], template
}

// fromGGUF is the suffix of a model's name that is read from a GGUF file.
const fromGGUF = "/GGUF"

// sources returns the models with golden files, and SmolLM2 as a GGUF file if given.
func sources(t testing.TB) []string {
	names := golden.Members(t, "tokenizers")
	if os.Getenv("PATCHWORK_SMOLLM2_GGUF") == "" {
		t.Logf("PATCHWORK_SMOLLM2_GGUF is not set to a file of %s", smolLM2)
		return names
	}
	return append(names, smolLM2+fromGGUF)
}

func goldenDir(t testing.TB, name string) string {
	t.Helper()
	return golden.Dir(t, filepath.Join("tokenizers", strings.TrimSuffix(name, fromGGUF)))
}

func encoder(t testing.TB, name string, imageTokens int) *chat.Encoder {
	t.Helper()
	if strings.HasSuffix(name, fromGGUF) {
		p, err := pretrained.Open(os.Getenv("PATCHWORK_SMOLLM2_GGUF"))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		l, err := p.Processor(imageTokens)
		if err != nil {
			t.Fatal(err)
		}
		return l.Encoder
	}
	tok, template := model(t, name)
	e, err := chat.NewEncoder(tok, template, imageTokens)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestGoldenChat(t *testing.T) {
	type row struct {
		Messages []struct {
			Role, Content string
			Reasoning     string `json:"reasoning_content"`
		}
		AddGenerationPrompt bool  `json:"add_generation_prompt"`
		EnableThinking      *bool `json:"enable_thinking"`
		Rendered            string
		IDs                 []int32 `json:"ids"`
	}
	for _, name := range sources(t) {
		t.Run(name, func(t *testing.T) {
			rows := golden.Lines[row](t, filepath.Join(goldenDir(t, name), "chat.jsonl"))
			e := encoder(t, name, 1)
			for _, r := range rows {
				var messages []chat.Message
				for _, m := range r.Messages {
					messages = append(messages, chat.Message{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning})
				}
				o := chat.Options{AddGenerationPrompt: r.AddGenerationPrompt, Thinking: r.EnableThinking}
				text, err := e.Render(messages, o)
				if err != nil || text != r.Rendered {
					t.Errorf("rendered %q (%v)\nwant %q", text, err, r.Rendered)
				}
				got, err := e.Messages(messages, o)
				if err != nil || !slices.Equal(got.IDs, r.IDs) {
					t.Errorf("%q (%v)\n got %v\nwant %v", r.Rendered, err, got.IDs, r.IDs)
				}
			}
		})
	}
}

func TestGoldenImageConversations(t *testing.T) {
	type row struct {
		Texts []struct {
			User      string
			Assistant *string
		}
		System              *string
		ImageTokens         int   `json:"image_tokens"`
		ImageTokenID        int32 `json:"image_token_id"`
		AddGenerationPrompt bool  `json:"add_generation_prompt"`
		EnableThinking      *bool `json:"enable_thinking"`
		Rendered            string
		IDs                 []int32 `json:"ids"`
	}
	for _, name := range sources(t) {
		t.Run(name, func(t *testing.T) {
			rows := golden.Lines[row](t, filepath.Join(goldenDir(t, name), "image_conversations.jsonl"))
			encoders := map[int]*chat.Encoder{}
			for _, r := range rows {
				if encoders[r.ImageTokens] == nil {
					encoders[r.ImageTokens] = encoder(t, name, r.ImageTokens)
				}
				e := encoders[r.ImageTokens]
				c := chat.Conversation{System: r.System, Images: 1}
				for _, turn := range r.Texts {
					one := chat.Turn{User: turn.User}
					if turn.Assistant != nil {
						one.Assistant = *turn.Assistant
					}
					c.Turns = append(c.Turns, one)
				}
				encode := e.Conversation
				if r.AddGenerationPrompt {
					encode = func(c chat.Conversation) (chat.Tokens, error) { return e.Prompt(c, r.EnableThinking) }
				}
				got, err := encode(c)
				if err != nil || !slices.Equal(got.IDs, r.IDs) {
					t.Errorf("%.60q (%v)\n got %v\nwant %v", r.Rendered, err, got.IDs, r.IDs)
					continue
				}
				if e.ImageID() != r.ImageTokenID || !slices.Equal(got.Images, []int{slices.Index(r.IDs, r.ImageTokenID)}) {
					t.Errorf("image token %d starts at %v; want %d", e.ImageID(), got.Images, r.ImageTokenID)
				}
			}
		})
	}
}
