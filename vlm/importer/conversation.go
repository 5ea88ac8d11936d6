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

// said is what a record's texts hold: turns, and what stands in them for pictures.
type conversation struct {
	turns     []data.Turn
	named     []string // pictures that the texts name
	tags      []string // placeholders of pictures
	others    []string // what names a picture in a way that is not read
	answer    string   // a placeholder in an answer
	isCaption bool     // a caption, which says nothing without its picture
	used      []string // the record's fields that are read
	system    int      // messages by the system
	joined    int      // messages that follow another of the same speaker
}

// What stands for a picture in a text: Qwen's <img>FILE</img>; LLaVA's <image> and its
// like; numbered ones, which the text may speak of again; HTML's and Markdown's.
var (
	namedTag    = regexp.MustCompile(`(?i)<img>\s*([^<>\s][^<>]*?)\s*</img>`)
	bareTag     = regexp.MustCompile(`(?i)<\|vision_start\|>(?:<\|image_pad\|>)*(?:<\|vision_end\|>)?|<img>\s*</img>|<(?:image|img|picture|pic|photo|image_token|image_placeholder|imagehere|start_of_image|image_soft_token|im_patch)\s*/?>|<\|(?:image|image_pad|image_placeholder)\|>|\[(?:IMG|IMAGE)\]`)
	numberedTag = regexp.MustCompile(`(?i)<(?:image|img|picture)[ _-]?(\d+)>|<\|image_(\d+)\|>`)
	otherTag    = regexp.MustCompile(`(?i)<img\s[^>]*src\s*=[^>]*>|!\[[^\]\n]*\]\([^)\n]+\)`)
)

// question takes the placeholders out of a text and notes them.
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
			return "image " + number // the question may be about it
		}
		return ""
	})
	s.others = append(s.others, otherTag.FindAllString(text, -1)...)
	return strings.TrimSpace(text)
}

// Pictures takes what stands for pictures out of a question, and counts them.
func StripPlaceholders(question string) (text string, pictures int, err error) {
	s := &conversation{}
	text = s.question(question)
	if len(s.others) > 0 {
		return "", 0, fmt.Errorf("the text names a picture by %s, which is not read: write <image> in its place", truncated(s.others[0]))
	}
	return text, len(s.named) + len(s.tags), nil
}

// add notes a question with its answer, valid UTF-8.
func (s *conversation) add(user, assistant string) {
	if s.answer == "" {
		s.answer = cmp.Or(bareTag.FindString(assistant), numberedTag.FindString(assistant), namedTag.FindString(assistant))
	}
	s.turns = append(s.turns, data.Turn{User: strings.ToValidUTF8(user, "\uFFFD"), Assistant: strings.ToValidUTF8(assistant, "\uFFFD")})
}

// match finds the pictures of a record: those that its fields name, or its texts. What
// the texts hold in their place must agree with their number.
func (s *conversation) match(rec record, fields []string) ([]string, error) {
	names := fields
	switch {
	case s.answer != "":
		return nil, fmt.Errorf("an answer has %s: a picture stands in a question", truncated(s.answer))
	case len(fields) == 0:
		names = s.named
	case len(s.named) > 0 && !slices.EqualFunc(s.named, fields, sameElement):
		return nil, fmt.Errorf("the text names other pictures than the record: %.100q and %.100q", s.named, fields)
	}
	if err := rec.emptyImage(); err != nil && len(names) == 0 {
		return nil, err
	}
	switch {
	case len(s.tags) > 0 && len(s.tags) != len(names):
		return nil, fmt.Errorf("what stands in the text for pictures is not as many as there are: %d times %s, pictures %d", len(s.tags), truncated(s.tags[0]), len(names))
	case len(names) > 0:
		return names, nil
	case len(s.others) > 0:
		return nil, fmt.Errorf("the text names a picture by %s, which is not read: name it in a field image", truncated(s.others[0]))
	case s.isCaption:
		return nil, errors.New("there is a caption and no picture")
	}
	return nil, nil
}

func sameElement(a, b string) bool { return sameFile(a, []string{b}) }

// conversation is a record's questions and answers, and what they hold for pictures.
func (r record) conversation(c *collector, place int) (*conversation, error) {
	s := &conversation{}
	if name, value := r.field(turnFields); name != "" {
		list, ok := value.([]any)
		if !ok {
			return s, fmt.Errorf("%s is no list", name)
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
		err = errors.New("there is no text: no caption, no answer and no conversation")
	}
	if err != nil {
		return s, err
	}
	if _, question := r.field(questionFields); nonEmpty(question) {
		return s, r.questionAndAnswer(s, captionFields, caption) // what the question is answered by
	}
	s.isCaption = true
	s.used = r.named(captionFields)
	s.add(c.prompt(place), s.question(caption))
	return s, nil
}

// oneText refuses a record with several texts of which one would have to be chosen.
func (r record) checkSingleText(answered bool) error {
	names, first := []string{}, ""
	fields := captionFields
	if answered {
		fields = slices.Concat(answerFields, captionFields)
	}
	for _, key := range r.keys() {
		text, ok := textOf(r[key])
		isOne := slices.ContainsFunc(fields, func(f string) bool { return plainName(f) == plainName(key) })
		if !ok || !isOne || strings.TrimSpace(text) == "" || len(names) > 0 && text == first {
			continue
		}
		names, first = append(names, key), text
	}
	if len(names) > 1 {
		return fmt.Errorf("both %s and %s: leave one out", names[0], names[1])
	}
	return nil
}

// named are the record's fields of the names, of which the first is read and any other
// says the same.
func (r record) named(names []string) (out []string) {
	_, value := r.field(names)
	for _, key := range r.keys() {
		same := slices.ContainsFunc(names, func(n string) bool { return plainName(n) == plainName(key) })
		mine, _ := textOf(value)
		if text, ok := textOf(r[key]); same && ok && text == mine {
			out = append(out, key)
		}
	}
	return out
}

// asked reads a question with its answer, and what Alpaca's form has beside: an input
// to the instruction, and earlier turns. The answer is in the fields of these names.
func (r record) questionAndAnswer(s *conversation, fields []string, answer string) error {
	s.used = slices.Concat(r.named(fields), r.named(questionFields), r.named([]string{"history"}))
	if name, value := r.field([]string{"history"}); name != "" {
		s.used = append(s.used, name)
		list, _ := value.([]any)
		for i, one := range list {
			pair, _ := one.([]any)
			if len(pair) != 2 {
				return fmt.Errorf("entry %d of %s is no question with its answer", i+1, name)
			}
			question, isText := textOf(pair[0])
			answer, isToo := textOf(pair[1])
			if !isText || !isToo {
				return fmt.Errorf("entry %d of %s is no text", i+1, name)
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

// messages reads LLaVA's form, {"from": "human", "value": …}, or OpenAI's, {"role":
// "user", "content": …}. What the system says is left out, and counted.
func (s *conversation) messages(name string, list []any) error {
	question, asked, before := "", false, ""
	for i, one := range list {
		object, ok := one.(map[string]any)
		if !ok {
			return fmt.Errorf("message %d of %s is no object", i+1, name)
		}
		role, _, _ := record(object).text([]string{"from", "role"})
		_, content := record(object).field([]string{"value", "content"})
		pictures := len(s.named) + len(s.tags)
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
			if len(s.named)+len(s.tags) > pictures {
				return fmt.Errorf("message %d of %s is an answer with a picture: pictures stand in questions", i+1, name)
			}
			if last := len(s.turns) - 1; !asked && last >= 0 {
				s.add("", text) // judged as any answer
				s.turns = s.turns[:last+1]
				s.turns[last].Assistant += "\n" + strings.ToValidUTF8(text, "\uFFFD")
				continue
			}
			s.add(question, text)
			question, asked = "", false
		default:
			return fmt.Errorf("message %d of %s is by %q; want human and gpt, or user and assistant", i+1, name, truncated(role))
		}
	}
	if asked {
		s.add(question, "") // left out, and counted
	}
	return nil
}

// message reads a message: a text, or a list of parts as {"type": "text"} and {"type":
// "image_url"}.
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
				case name == "": // it stands for one that the record names
					s.tags = append(s.tags, "a part of the type "+kind)
				default:
					s.named = append(s.named, name)
				}
			default:
				return "", fmt.Errorf("has a part of the type %q", truncated(kind))
			}
		}
		return strings.TrimSpace(strings.Join(texts, "\n")), nil
	}
	return "", errors.New("has no text")
}

// picturePart is the path or the data: URL in a part of a message; "" where the record
// names the picture elsewhere.
func imagePart(part record) (string, error) {
	key, value := part.field([]string{"image_url", "image", "path", "url", "source"})
	if object, ok := value.(map[string]any); ok {
		if kind, data := record(object)["media_type"], record(object)["data"]; kind != nil && data != nil { // Anthropic's
			return fmt.Sprintf("data:%v;base64,%v", kind, data), nil
		}
		_, value = record(object).field([]string{"url", "path"})
		if value == nil {
			return "", fmt.Errorf("has a picture in %s that has neither url nor path", key)
		}
	}
	if value == nil {
		return "", nil
	}
	name, ok := value.(string)
	if !ok || name == "" {
		return "", fmt.Errorf("has a picture in %s that is no path", key)
	}
	return name, nil
}

// image finds the picture that a list names, or unpacks the one that it holds in a data:
// URL.
func (s *source) image(list, name string) (imageFile, error) {
	name = strings.TrimPrefix(name, "file://")
	if scheme, _, ok := strings.Cut(name, "://"); ok && len(scheme) > 1 {
		return imageFile{}, fmt.Errorf("names a picture that is not a file: download %s", truncated(name))
	}
	head, body, ok := strings.Cut(name, ",")
	if !strings.HasPrefix(head, "data:") {
		path, err := s.locate(list, name)
		return imageFile{path: path}, err
	}
	if !ok || !strings.HasSuffix(head, ";base64") {
		return imageFile{}, errors.New("a data: URL is read where it is data:image/…;base64, and the bytes")
	}
	bytes, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	if err != nil || len(bytes) == 0 {
		return imageFile{}, errors.New("the data: URL is no base64")
	}
	return imageFile{bytes: bytes}, nil
}

// name is what a message calls a picture.
func (m imageFile) name() string {
	if m.path == "" {
		return "its data: URL"
	}
	return filepath.Base(m.path)
}
