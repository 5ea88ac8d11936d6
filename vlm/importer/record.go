package importer

import (
	"errors"
	"fmt"
	"strings"

	"patchwork/vlm/data"
)

// field returns the first of the fields that is there, in the record's own value.
func (r record) field(names []string) (name string, value any) {
	for _, name := range names {
		if v, ok := r[name]; ok && v != nil {
			return name, v
		}
	}
	return "", nil
}

// text returns a field that must be a string; ok is false where there is none.
func (r record) text(names []string) (s string, ok bool, err error) {
	name, value := r.field(names)
	if name == "" {
		return "", false, nil
	}
	s, ok = value.(string)
	if !ok {
		err = fmt.Errorf("%s is no text", name)
	}
	return s, ok, err
}

// images are the names of the pictures: a string, a list of them, or objects with a
// path, as in other tools' files.
func (r record) images() ([]string, error) {
	name, value := r.field(imageFields)
	if name == "" {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var out []string
	for _, one := range list {
		if object, ok := one.(map[string]any); ok {
			_, one = record(object).field(imageFields)
		}
		s, ok := one.(string)
		if !ok || s == "" {
			return nil, fmt.Errorf("%s names no picture", name)
		}
		out = append(out, s)
	}
	return out, nil
}

// turns are a record's questions and answers, and the pictures that its messages
// name.
func (r record) turns(o Options, place int) (turns []data.Turn, images []string, err error) {
	if name, value := r.field(turnFields); name != "" {
		list, ok := value.([]any)
		if !ok {
			return nil, nil, fmt.Errorf("%s is no list", name)
		}
		return conversation(name, list)
	}
	answer, answered, err := r.text(answerFields)
	if err != nil {
		return nil, nil, err
	}
	if answered {
		question, _, err := r.text(questionFields)
		return []data.Turn{turn(question, answer)}, nil, err
	}
	caption, ok, err := r.text(captionFields)
	if err == nil && !ok {
		err = errors.New("there is no text: no caption, no answer and no conversation")
	}
	return []data.Turn{turn(o.prompt(place), caption)}, nil, err
}

// conversation reads messages in LLaVA's form, {"from": "human", "value": …}, or in
// OpenAI's, {"role": "user", "content": …}. What the system says is left out.
func conversation(name string, list []any) (turns []data.Turn, images []string, err error) {
	question, asked := "", false
	for i, one := range list {
		object, ok := one.(map[string]any)
		if !ok {
			return nil, nil, fmt.Errorf("message %d of %s is no object", i+1, name)
		}
		role, _, _ := record(object).text([]string{"from", "role"})
		_, content := record(object).field([]string{"value", "content"})
		text, pictures, err := message(content)
		if err != nil {
			return nil, nil, fmt.Errorf("message %d of %s %w", i+1, name, err)
		}
		images = append(images, pictures...)
		switch strings.ToLower(role) {
		case "system":
		case "human", "user":
			if asked {
				text = question + "\n" + text
			}
			question, asked = text, true
		case "gpt", "assistant", "model":
			turns = append(turns, turn(question, text))
			question, asked = "", false
		default:
			return nil, nil, fmt.Errorf("message %d of %s is by %q; want human and gpt, or user and assistant", i+1, name, role)
		}
	}
	return turns, images, nil
}

// message reads a message: a text, in which <image> stands for a picture as in
// LLaVA's data, or a list of parts, {"type": "text"} and {"type": "image_url"}.
func message(content any) (text string, images []string, err error) {
	switch content := content.(type) {
	case string:
		return strings.TrimSpace(strings.ReplaceAll(content, "<image>", "")), nil, nil
	case []any:
		var texts []string
		for _, one := range content {
			part, _ := one.(map[string]any)
			switch kind, _, _ := record(part).text([]string{"type"}); kind {
			case "text":
				s, _, err := record(part).text([]string{"text"})
				if err != nil {
					return "", nil, err
				}
				texts = append(texts, s)
			case "image", "image_url":
				name, err := picturePart(part)
				if err != nil {
					return "", nil, err
				}
				if name != "" {
					images = append(images, name)
				}
			default:
				return "", nil, fmt.Errorf("has a part of the type %q", kind)
			}
		}
		return strings.TrimSpace(strings.Join(texts, "\n")), images, nil
	}
	return "", nil, errors.New("has no text")
}

// picturePart is the path in a part of a message; "" where the record names it
// elsewhere.
func picturePart(part map[string]any) (string, error) {
	_, value := record(part).field([]string{"image_url", "image", "path", "url"})
	if object, ok := value.(map[string]any); ok {
		_, value = record(object).field([]string{"url", "path"})
	}
	name, _ := value.(string)
	name = strings.TrimPrefix(name, "file://")
	if strings.Contains(name, "://") || strings.HasPrefix(name, "data:") {
		return "", errors.New("names a picture that is not a file")
	}
	return name, nil
}
