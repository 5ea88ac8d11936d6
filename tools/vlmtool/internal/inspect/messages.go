package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"patchwork/vlm/chat"
	"patchwork/vlm/importer"
)

// object is a JSON object whose values are not decoded yet.
type object map[string]json.RawMessage

// has reports whether a field is present and not null.
func (o object) has(name string) bool { return len(o[name]) > 0 && string(o[name]) != "null" }

// text decodes a string field; one that is absent or null is "".
func (o object) text(name string) (s string, err error) {
	if o.has(name) && json.Unmarshal(o[name], &s) != nil {
		err = fmt.Errorf("%s is %.40s, want a string", name, compact(o[name]))
	}
	return s, err
}

// reject returns an error for the first of the fields that is not empty, since it would be
// dropped silently.
func (o object) reject(names ...string) error {
	for _, name := range names {
		if value := string(compact(o[name])); o.has(name) && value != "[]" && value != "{}" && value != `""` {
			return fmt.Errorf("%s is not supported; remove it", name)
		}
	}
	return nil
}

// compact is a value on one line.
func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// parseMessages reads a conversation: OpenAI's list of messages, alone or as
// "messages", LLaVA's and ShareGPT's as "conversations", or FineVision's list of turns,
// alone or as "texts", with "images".
func parseMessages(text []byte, hear listen) ([]chat.Message, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	var whole object
	list := json.RawMessage(text)
	if json.Unmarshal(text, &whole) == nil {
		list = nil
		for _, name := range []string{"messages", "texts", "conversations"} {
			switch {
			case whole.has(name) && list != nil:
				return nil, fmt.Errorf("%s is a second conversation; keep one", name)
			case whole.has(name):
				list = whole[name]
			}
		}
	}
	var entries []object
	if json.Unmarshal(list, &entries) != nil || len(entries) == 0 {
		return nil, fmt.Errorf(`no conversation found; want [{"role": "user", "content": "…"}, …], [{"user": "…", "assistant": "…"}, …] or [{"from": "human", "value": "…"}, …]`)
	}
	if err := whole.reject("tools", "functions", "documents", "audios", "audio"); err != nil {
		return nil, err
	}
	images, err := countImages(whole)
	if err != nil {
		return nil, err
	}
	var out []chat.Message
	tags := 0
	for i, e := range entries {
		messages, n, err := e.messages(hear)
		if err != nil {
			return nil, fmt.Errorf("message %d %w", i+1, err)
		}
		out, tags = append(out, messages...), tags+n
	}
	if images > 0 && tags > 0 && images != tags {
		return nil, fmt.Errorf("there are %d images, but the texts have %d image tags", images, tags)
	}
	for i := range out {
		if out[i].Role == "user" {
			out[i].Images += max(images, tags)
			return out, nil
		}
	}
	if images > 0 {
		return nil, errors.New("there are images, but no user message that they belong to")
	}
	return out, nil
}

// checkJSON rejects anything but a single JSON value.
func checkJSON(text []byte) error {
	line := func(offset int64) int { return 1 + bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n")) }
	var value json.RawMessage
	d := json.NewDecoder(bytes.NewReader(text))
	var wrong *json.SyntaxError
	switch err := d.Decode(&value); {
	case errors.As(err, &wrong):
		return fmt.Errorf("not a single JSON value: line %d is invalid (JSON has no NaN and no comments)", line(wrong.Offset))
	case err != nil:
		return errors.New("not a single JSON value: the file ends too early")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("not a single JSON value: more data follows; from a JSON Lines file, use one line")
	}
	return nil
}

// messages reads an entry of a conversation and counts the image tags that LLaVA's
// format has in its texts. Its errors are written to follow the entry's name.
func (o object) messages(hear listen) (out []chat.Message, tags int, err error) {
	openAI, turn, llava := o.has("role"), o.has("user") && o.has("assistant"), o.has("from")
	switch {
	case turn && !openAI && !llava:
		user, err := o.text("user")
		assistant, err2 := o.text("assistant")
		if err = errors.Join(err, err2); err != nil {
			return nil, 0, fmt.Errorf("is invalid: %w", err)
		}
		return []chat.Message{{Role: "user", Content: user}, {Role: "assistant", Content: assistant}}, 0, nil
	case llava && !openAI && !o.has("user") && !o.has("assistant"):
		m, tags, err := o.llava()
		return []chat.Message{m}, tags, err
	case openAI && !llava && !o.has("user") && !o.has("assistant"):
		m, err := o.openAI(hear)
		return []chat.Message{m}, 0, err
	}
	return nil, 0, errors.New("has neither role and content nor user and assistant")
}

// unsupported are fields of a message that would change the prompt.
var unsupported = []string{"tool_calls", "tool_call_id", "function_call", "refusal", "name", "audio"}

func (o object) openAI(hear listen) (chat.Message, error) {
	if err := o.reject(unsupported...); err != nil {
		return chat.Message{}, fmt.Errorf("is invalid: %w", err)
	}
	if _, there := o["content"]; !there {
		return chat.Message{}, errors.New("has no content")
	}
	m, err := parseContent(o["content"], hear)
	if err != nil {
		return m, fmt.Errorf("is invalid: %w", err)
	}
	role, err := o.text("role")
	reasoning, err2 := o.text("reasoning_content")
	if err = errors.Join(err, err2); err != nil {
		return m, fmt.Errorf("is invalid: %w", err)
	}
	m.Role, m.Reasoning = role, reasoning
	return m, nil
}

// llava reads {"from": "human", "value": …} as data import does.
func (o object) llava() (m chat.Message, images int, err error) {
	from, err := o.text("from")
	value, err2 := o.text("value")
	if err = errors.Join(err, err2, o.reject(unsupported...)); err != nil {
		return m, 0, fmt.Errorf("is invalid: %w", err)
	}
	if !o.has("value") {
		return m, 0, errors.New("has no value")
	}
	value = strings.TrimSpace(value)
	role := importer.Role(from)
	if role == "" {
		return m, 0, fmt.Errorf("is from %.40q; want human, gpt or system", from)
	}
	if role == "user" {
		if value, images, err = importer.StripPlaceholders(value); err != nil {
			err = fmt.Errorf("is invalid: %w", err)
		}
	}
	return chat.Message{Role: role, Content: value}, images, err
}

// countImages counts FineVision's images, which is a list or a number, or the file names
// in image.
func countImages(whole object) (int, error) {
	raw, name := whole["images"], "images"
	if !whole.has(name) {
		raw, name = whole["image"], "image"
	}
	var list []json.RawMessage
	var text string
	n := 0
	switch {
	case !whole.has(name):
	case json.Unmarshal(raw, &list) == nil:
		n = len(list)
	case name == "image" && json.Unmarshal(raw, &text) == nil && text != "":
		n = 1
	case json.Unmarshal(raw, &n) != nil || n < 0 || n > 1000:
		return 0, fmt.Errorf("%s is %.40s, want a list of images or their number", name, compact(raw))
	}
	return n, nil
}

// parseContent reads a string, or a list of parts in which images come first. Sound that follows text
// has its place in the text.
func parseContent(raw json.RawMessage, hear listen) (chat.Message, error) {
	var m chat.Message
	if string(raw) != "null" && json.Unmarshal(raw, &m.Content) == nil {
		return m, nil
	}
	var parts []object
	if string(raw) == "null" || json.Unmarshal(raw, &parts) != nil {
		return m, fmt.Errorf("content is %.40s, want a string or a list of parts", compact(raw))
	}
	var texts []string
	placed, literal := false, false // sound after text, and text that looks like it
	for _, p := range parts {
		kind, err := p.text("type")
		if err != nil {
			return m, err
		}
		switch kind {
		case "text":
			text, err := p.text("text") // null is ""
			if _, there := p["text"]; !there && err == nil {
				err = errors.New("a part of type text has no text")
			}
			if err != nil {
				return m, err
			}
			texts, literal = append(texts, text), literal || strings.Contains(text, chat.AudioToken)
		case "input_audio":
			tokens, err := p.inputAudio(hear)
			if err != nil {
				return m, err
			}
			placed = placed || len(texts) > len(m.Clips)
			texts, m.Clips = append(texts, chat.AudioToken), append(m.Clips, tokens)
		case "image", "image_url", "input_image":
			if len(texts) > len(m.Clips) {
				return m, fmt.Errorf("an image follows text; images come first in a message")
			}
			m.Images++
		default:
			return m, fmt.Errorf("content has a part of type %q; want text, image, image_url or input_audio", kind)
		}
	}
	if !placed { // sound before the text is where it goes anyway
		texts = texts[len(m.Clips):]
	} else if literal {
		return m, fmt.Errorf("a text has %s, which is the place of sound", chat.AudioToken)
	}
	m.Content = strings.Join(texts, "")
	return m, nil
}

// inputAudio reads OpenAI's part of sound and returns its number of tokens.
func (o object) inputAudio(hear listen) (int, error) {
	var sound struct {
		Data []byte `json:"data"` // base64
	}
	if json.Unmarshal(o["input_audio"], &sound) != nil || len(sound.Data) == 0 {
		return 0, errors.New(`a part of type "input_audio" has no sound; want {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}`)
	}
	tokens, err := hear(sound.Data)
	if err != nil {
		return 0, fmt.Errorf("a part of type \"input_audio\": %w", err)
	}
	return tokens, nil
}
