package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm"
	"patchwork/vlm/chat"
)

// rendered is inspect --render's line of JSON.
type rendered struct {
	Prompt string  `json:"prompt"` // the text, <|image|> once for every patch
	IDs    []int32 `json:"ids"`
	Loss   []bool  `json:"loss"` // which of the ids training on answers learns
	Ends   []int32 `json:"ends"` // the ids at which generation stops
}

// inspectRender prints a conversation as the model reads it. One that ends with a
// question is a prompt, which is answered next.
func (a *app) inspectRender(model, file string) error {
	text, err := a.readFile(file, smallfile.Config)
	if err != nil {
		return fmt.Errorf("--render %w", err)
	}
	messages, err := parseMessages(text)
	if err != nil {
		return fmt.Errorf("--render %s: %w", file, err)
	}
	l, err := vlm.OpenLanguage(model)
	if err != nil {
		return err
	}
	o := chat.Options{AddGenerationPrompt: messages[len(messages)-1].Role != "assistant"}
	if o.AddGenerationPrompt {
		o.Thinking = new(bool) // as infer asks without --thinking
	}
	tokens, err := l.Messages(messages, o)
	if err != nil {
		return fmt.Errorf("%s: %w", model, err)
	}
	return a.result(rendered{l.Tokenizer.Decode(tokens.IDs, false), tokens.IDs, tokens.Answer, l.EndIDs()})
}

// readFile reads a file of at most limit bytes, or standard input where the name is -.
func (a *app) readFile(name string, limit int64) ([]byte, error) {
	if name == "-" {
		return smallfile.ReadFrom(a.stdin, "standard input", limit)
	}
	return smallfile.Read(name, limit)
}

// parseMessages reads a conversation: OpenAI's list of messages, alone or as
// "messages", or FineVision's list of turns, alone or as "texts", with "images".
func parseMessages(text []byte) ([]chat.Message, error) {
	var object struct {
		Messages, Texts json.RawMessage
		Images          json.RawMessage
	}
	list := bytes.TrimSpace(text)
	if json.Unmarshal(text, &object) == nil {
		if list = object.Messages; list == nil {
			list = object.Texts
		}
	}
	var entries []struct {
		Role            string
		Content         json.RawMessage
		Reasoning       string `json:"reasoning_content"`
		User, Assistant *string
	}
	if err := json.Unmarshal(list, &entries); err != nil || len(entries) == 0 {
		return nil, fmt.Errorf(`it holds no conversation; it wants [{"role": "user", "content": "…"}, …] or [{"user": "…", "assistant": "…"}, …]`)
	}
	images, err := countImages(object.Images)
	if err != nil {
		return nil, err
	}
	var out []chat.Message
	for i, e := range entries {
		switch {
		case e.User != nil && e.Assistant != nil && e.Role == "":
			out = append(out, chat.Message{Role: "user", Content: *e.User}, chat.Message{Role: "assistant", Content: *e.Assistant})
		case e.Role != "" && e.User == nil && e.Assistant == nil:
			m, err := parseContent(e.Content)
			if err != nil {
				return nil, fmt.Errorf("message %d: %w", i+1, err)
			}
			m.Role, m.Reasoning = e.Role, e.Reasoning
			out = append(out, m)
		default:
			return nil, fmt.Errorf("message %d has neither a role with content nor a user's and an assistant's text", i+1)
		}
	}
	for i := range out {
		if out[i].Role == "user" {
			out[i].Images += images
			break
		}
	}
	return out, nil
}

// countImages reads FineVision's images: a list, or how many there are.
func countImages(raw json.RawMessage) (int, error) {
	var list []json.RawMessage
	n := 0
	switch {
	case len(raw) == 0 || string(raw) == "null":
	case json.Unmarshal(raw, &list) == nil:
		n = len(list)
	case json.Unmarshal(raw, &n) != nil || n < 0 || n > 1000:
		return 0, fmt.Errorf("images is %.40s, want a list of pictures or their number", raw)
	}
	return n, nil
}

// parseContent reads a text, or a list of parts of which pictures come first.
func parseContent(raw json.RawMessage) (chat.Message, error) {
	var m chat.Message
	if json.Unmarshal(raw, &m.Content) == nil {
		return m, nil
	}
	var parts []struct{ Type, Text string }
	if json.Unmarshal(raw, &parts) != nil {
		return m, fmt.Errorf("content is %.40s, want a text or a list of parts", raw)
	}
	var texts []string
	for _, p := range parts {
		switch p.Type {
		case "text":
			texts = append(texts, p.Text)
		case "image", "image_url", "input_image":
			if len(texts) > 0 {
				return m, fmt.Errorf("a picture stands behind text; pictures come first in a message")
			}
			m.Images++
		default:
			return m, fmt.Errorf("content has a part of type %q; text, image and image_url are read", p.Type)
		}
	}
	m.Content = strings.Join(texts, "")
	return m, nil
}
