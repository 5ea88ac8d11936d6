package importer

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"patchwork/vlm/data"
)

// conversation is what was parsed from a record's texts: turns, and the image placeholders
// in them.
type conversation struct {
	turns     []data.Turn
	named     []string // images that the texts name
	tags      []string // image placeholders
	others    []string // image references in a form that is not read
	answer    string   // a placeholder in an answer
	isCaption bool     // requires an image
	used      []string // the record's fields that were read
	system    int      // system messages
	joined    int      // messages joined with the one before, by the same speaker
}

// Placeholders of images in a text: Qwen's <img>FILE</img>; LLaVA's <image> and the like;
// numbered ones, which the text may mention repeatedly; HTML's and Markdown's.
var (
	namedTag    = regexp.MustCompile(`(?i)<img>\s*([^<>\s][^<>]*?)\s*</img>`)
	bareTag     = regexp.MustCompile(`(?i)<\|vision_start\|>(?:<\|image_pad\|>)*(?:<\|vision_end\|>)?|<img>\s*</img>|<(?:image|img|picture|pic|photo|image_token|image_placeholder|imagehere|start_of_image|image_soft_token|im_patch)\s*/?>|<\|(?:image|image_pad|image_placeholder)\|>|\[(?:IMG|IMAGE)\]`)
	numberedTag = regexp.MustCompile(`(?i)<(?:image|img|picture)[ _-]?(\d+)>|<\|image_(\d+)\|>`)
	otherTag    = regexp.MustCompile(`(?i)<img\s[^>]*src\s*=[^>]*>|!\[[^\]\n]*\]\([^)\n]+\)`)
)

// question records the placeholders in a text and returns the text without them.
func (s *conversation) question(text string) string {
	text = namedTag.ReplaceAllStringFunc(text, func(tag string) string {
		s.named = append(s.named, namedTag.FindStringSubmatch(tag)[1])
		return ""
	})
	text = bareTag.ReplaceAllStringFunc(text, func(tag string) string {
		s.tags = append(s.tags, tag)
		return ""
	})
	text = numberedTag.ReplaceAllStringFunc(text, func(tag string) string {
		if !slices.Contains(s.tags, tag) {
			s.tags = append(s.tags, tag)
		}
		if number := numberedTag.FindStringSubmatch(tag)[1]; number != "" {
			return "image " + number // the question may refer to it
		}
		return ""
	})
	s.others = append(s.others, otherTag.FindAllString(text, -1)...)
	return strings.TrimSpace(text)
}

// StripPlaceholders removes the image placeholders from a question and counts them. An
// HTML or Markdown image is an error.
func StripPlaceholders(question string) (text string, images int, err error) {
	s := &conversation{}
	text = s.question(question)
	if len(s.others) > 0 {
		return "", 0, fmt.Errorf("the text refers to an image by %s, which is not read: write <image> instead", truncated(s.others[0]))
	}
	return text, len(s.named) + len(s.tags), nil
}

// add adds a turn, with invalid UTF-8 replaced by U+FFFD.
func (s *conversation) add(user, assistant string) {
	if s.answer == "" {
		s.answer = cmp.Or(bareTag.FindString(assistant), numberedTag.FindString(assistant), namedTag.FindString(assistant))
	}
	s.turns = append(s.turns, data.Turn{User: strings.ToValidUTF8(user, "\uFFFD"), Assistant: strings.ToValidUTF8(assistant, "\uFFFD")})
}

// match returns the names of a record's images: those in its fields, or else in its texts.
// The number of placeholders in the texts must match.
func (s *conversation) match(rec record, fields []string) ([]string, error) {
	names := fields
	switch {
	case s.answer != "":
		return nil, fmt.Errorf("an answer contains %s: images belong in questions", truncated(s.answer))
	case len(fields) == 0:
		names = s.named
	case len(s.named) > 0 && !slices.EqualFunc(s.named, fields, sameElement):
		return nil, fmt.Errorf("the text and the record name different images: %.100q and %.100q", s.named, fields)
	}
	if err := rec.emptyImage(); err != nil && len(names) == 0 {
		return nil, err
	}
	switch {
	case len(s.tags) > 0 && len(s.tags) != len(names):
		return nil, fmt.Errorf("the number of placeholders and images differs: %d times %s, %d images", len(s.tags), truncated(s.tags[0]), len(names))
	case len(names) > 0:
		return names, nil
	case len(s.others) > 0:
		return nil, fmt.Errorf("the text refers to an image by %s, which is not read: name the file in a field image", truncated(s.others[0]))
	case s.isCaption:
		return nil, errors.New("a caption without an image")
	}
	return nil, nil
}

func sameElement(a, b string) bool { return sameFile(a, []string{b}) }

// conversation parses a record's questions and answers. index is the entry's index, which
// chooses the prompt of a caption.
func (r record) conversation(c *collector, index int) (*conversation, error) {
	s := &conversation{}
	if name, value := r.field(turnFields); name != "" {
		list, ok := value.([]any)
		if !ok {
			return s, fmt.Errorf("%s is not a list", name)
		}
		s.used = []string{name}
		return s, s.messages(name, list)
	}
	answer, answered, err := r.text(answerFields)
	if err != nil {
		return s, err
	}
	if err := r.checkSingleText(answered); err != nil {
		return s, err
	}
	if answered {
		return s, r.questionAndAnswer(s, answerFields, answer)
	}
	caption, ok, err := r.text(captionFields)
	if err == nil && !ok {
		err = errors.New("no text: there is no caption, answer or conversation")
	}
	if err != nil {
		return s, err
	}
	if _, question := r.field(questionFields); nonEmpty(question) {
		return s, r.questionAndAnswer(s, captionFields, caption) // the caption is the answer
	}
	s.isCaption = true
	s.used = r.named(captionFields)
	s.add(c.prompt(index), s.question(caption))
	return s, nil
}

// checkSingleText returns an error if several different fields could be the answer or
// caption.
func (r record) checkSingleText(answered bool) error {
	names, first := []string{}, ""
	fields := captionFields
	if answered {
		fields = slices.Concat(answerFields, captionFields)
	}
	for _, key := range r.keys() {
		text, ok := textOf(r[key])
		isOne := slices.ContainsFunc(fields, func(f string) bool { return data.NormalizeName(f) == data.NormalizeName(key) })
		if !ok || !isOne || strings.TrimSpace(text) == "" || len(names) > 0 && text == first {
			continue
		}
		names, first = append(names, key), text
	}
	if len(names) > 1 {
		return fmt.Errorf("has both %s and %s: remove one", names[0], names[1])
	}
	return nil
}

// named returns the record's fields with one of the names and the value of the first of
// them.
func (r record) named(names []string) (out []string) {
	_, value := r.field(names)
	for _, key := range r.keys() {
		same := slices.ContainsFunc(names, func(n string) bool { return data.NormalizeName(n) == data.NormalizeName(key) })
		mine, _ := textOf(value)
		if text, ok := textOf(r[key]); same && ok && text == mine {
			out = append(out, key)
		}
	}
	return out
}

// questionAndAnswer parses a question, its answer, and the fields of Alpaca's format: an
// input to the instruction, and a history of earlier turns. fields are the names of the
// field that holds the answer.
func (r record) questionAndAnswer(s *conversation, fields []string, answer string) error {
	s.used = slices.Concat(r.named(fields), r.named(questionFields), r.named([]string{"history"}))
	if name, value := r.field([]string{"history"}); name != "" {
		s.used = append(s.used, name)
		list, _ := value.([]any)
		for i, one := range list {
			pair, _ := one.([]any)
			if len(pair) != 2 {
				return fmt.Errorf("entry %d of %s is not a pair of question and answer", i+1, name)
			}
			question, isText := textOf(pair[0])
			answer, isToo := textOf(pair[1])
			if !isText || !isToo {
				return fmt.Errorf("entry %d of %s is not text", i+1, name)
			}
			s.add(s.question(question), answer)
		}
	}
	question, _, err := r.text(questionFields)
	if err != nil {
		return err
	}
	if _, instructed := r.field([]string{"instruction"}); instructed != nil {
		input, _, err := r.text([]string{"input"})
		if err != nil {
			return err
		}
		if instruction, _, _ := r.text([]string{"instruction"}); input != "" && instruction != "" {
			question = instruction + "\n" + input
			s.used = slices.Concat(s.used, r.named([]string{"instruction"}), r.named([]string{"input"}))
		}
	}
	s.add(s.question(question), answer)
	return nil
}

// messages parses LLaVA's messages, {"from": "human", "value": …}, or OpenAI's, {"role":
// "user", "content": …}. System messages are dropped and counted.
func (s *conversation) messages(name string, list []any) error {
	question, asked, before := "", false, ""
	for i, one := range list {
		object, ok := one.(map[string]any)
		if !ok {
			return fmt.Errorf("message %d of %s is not an object", i+1, name)
		}
		role, _, _ := record(object).text([]string{"from", "role"})
		_, content := record(object).field([]string{"value", "content"})
		images := len(s.named) + len(s.tags)
		text, err := s.message(content)
		if err != nil {
			return fmt.Errorf("message %d of %s %w", i+1, name, err)
		}
		role = strings.ToLower(role)
		if role == before && role != "system" {
			s.joined++
		}
		before = role
		switch Role(role) {
		case "system":
			s.system++
		case "user":
			text = s.question(text)
			if asked {
				text = question + "\n" + text
			}
			question, asked = text, true
		case "assistant":
			if len(s.named)+len(s.tags) > images {
				return fmt.Errorf("message %d of %s is an answer with an image: images belong in questions", i+1, name)
			}
			if last := len(s.turns) - 1; !asked && last >= 0 {
				s.add("", text) // checks the text for placeholders
				s.turns = s.turns[:last+1]
				s.turns[last].Assistant += "\n" + strings.ToValidUTF8(text, "\uFFFD")
				continue
			}
			s.add(question, text)
			question, asked = "", false
		default:
			return fmt.Errorf("message %d of %s has the role %q; want human and gpt, or user and assistant", i+1, name, truncated(role))
		}
	}
	if asked {
		s.add(question, "") // dropped and counted by the caller
	}
	return nil
}

// message parses the content of a message: a text, or a list of parts such as {"type":
// "text"} and {"type": "image_url"}. Its errors follow the name of the message.
func (s *conversation) message(content any) (string, error) {
	if text, ok := textOf(content); ok {
		return strings.TrimSpace(text), nil
	}
	switch content := content.(type) {
	case []any:
		var texts []string
		for _, one := range content {
			part, _ := one.(map[string]any)
			switch kind, _, _ := record(part).text([]string{"type"}); kind {
			case "text", "input_text", "output_text":
				text, _, err := record(part).text([]string{"text"})
				if err != nil {
					return "", err
				}
				texts = append(texts, text)
			case "image", "image_url", "input_image":
				name, err := imagePart(part)
				switch {
				case err != nil:
					return "", err
				case name == "": // a placeholder for an image that the record names
					s.tags = append(s.tags, "a part of type "+kind)
				default:
					s.named = append(s.named, name)
				}
			default:
				return "", fmt.Errorf("has a part of type %q, which is not read", truncated(kind))
			}
		}
		return strings.TrimSpace(strings.Join(texts, "\n")), nil
	}
	return "", errors.New("has no text")
}

// imagePart returns the path or data: URL in an image part of a message, or "" if the part
// has none and the record names the image elsewhere.
func imagePart(part record) (string, error) {
	key, value := part.field([]string{"image_url", "image", "path", "url", "source"})
	if object, ok := value.(map[string]any); ok {
		if kind, data := record(object)["media_type"], record(object)["data"]; kind != nil && data != nil { // Anthropic's
			return fmt.Sprintf("data:%v;base64,%v", kind, data), nil
		}
		_, value = record(object).field([]string{"url", "path"})
		if value == nil {
			return "", fmt.Errorf("has an image in %s with neither url nor path", key)
		}
	}
	if value == nil {
		return "", nil
	}
	name, ok := value.(string)
	if !ok || name == "" {
		return "", fmt.Errorf("has an image in %s that is not a path", key)
	}
	return name, nil
}

// image locates an image that a list names, or decodes it from a data: URL.
func (s *source) image(list, name string) (imageFile, error) {
	name = strings.TrimPrefix(name, "file://")
	if scheme, _, ok := strings.Cut(name, "://"); ok && len(scheme) > 1 {
		return imageFile{}, fmt.Errorf("names an image that is not a file: download %s", truncated(name))
	}
	head, body, ok := strings.Cut(name, ",")
	if !strings.HasPrefix(head, "data:") {
		path, err := s.locate(list, name)
		return imageFile{path: path}, err
	}
	if !ok || !strings.HasSuffix(head, ";base64") {
		return imageFile{}, errors.New("a data: URL must be data:image/…;base64, followed by the bytes")
	}
	bytes, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	if err != nil || len(bytes) == 0 {
		return imageFile{}, errors.New("the data: URL is not valid base64")
	}
	return imageFile{bytes: bytes}, nil
}

// name returns the image's name for messages.
func (m imageFile) name() string {
	if m.path == "" {
		return "its data: URL"
	}
	return filepath.Base(m.path)
}
