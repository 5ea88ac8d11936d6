package importer

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// What fields are called, by their plain names.
var (
	captionFields  = []string{"text", "caption", "description"}
	questionFields = []string{"question", "prompt", "user", "instruction", "query", "prefix", "input"}
	answerFields   = []string{"answer", "response", "assistant", "suffix", "output"}
	turnFields     = []string{"conversations", "messages", "conversation"}

	// Those that name a picture's file, for certain or where there is no other.
	imageField = regexp.MustCompile(`^(image|img|picture|photo|pic)s?(path|file|filename|filepath|name|location)?s?$`)
	fileFields = []string{"filename", "filepath", "path", "file"}

	urlField   = regexp.MustCompile(`^(image|img|picture|photo|pic|coco|flickr)?s?(url|uri|link|href)s?$`)
	bytesField = regexp.MustCompile(`^(image|img|picture|photo|pic)s?(bytes|base64|b64|data)$`)
	otherMedia = regexp.MustCompile(`^(video|audio)s?(path|file|filename)?s?$`)
	aboutImage = regexp.MustCompile(`image|img|picture|photo`)
)

func isImageField(plain string) bool {
	return imageField.MatchString(plain) || slices.Contains(fileFields, plain)
}

// plainName is a field's name in lower case, without what joins words: img_path, imgPath
// and "Img Path" are one name.
func plainName(name string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(name))
}

// keys are the names of the fields that are there, in order.
func (r record) keys() []string {
	return slices.DeleteFunc(r.allKeys(), func(k string) bool { return r[k] == nil })
}

// allKeys are those with null as well.
func (r record) allKeys() []string { return slices.Sorted(maps.Keys(r)) }

// field returns the first of the fields that is there, in the record's own value.
func (r record) field(names []string) (name string, value any) {
	for _, name := range names {
		for _, key := range r.keys() {
			if plainName(key) == plainName(name) {
				return key, r[key]
			}
		}
	}
	return "", nil
}

// text returns a field that must be a string, or a number or truth value, which is its
// text; ok is false where there is none.
func (r record) text(names []string) (s string, ok bool, err error) {
	name, value := r.field(names)
	if name == "" {
		return "", false, nil
	}
	s, ok = textOf(value)
	if !ok {
		err = fmt.Errorf("%s is no text", name)
	}
	return s, ok, err
}

// images are the names of the pictures: a string, a list of them, or objects with a
// path, as in other tools' files; nil where no field names any. What means a picture and
// cannot be read is an error.
func (r record) images() ([]string, error) {
	var found []string
	foundBy := ""
	for _, key := range r.keys() {
		if !imageField.MatchString(plainName(key)) || r.emptyField(key) {
			continue
		}
		names, err := namesIn(key, r[key])
		if err != nil {
			return nil, err
		}
		if foundBy != "" && !slices.Equal(names, found) {
			return nil, fmt.Errorf("%s and %s name different pictures: list all in images", foundBy, key)
		}
		found, foundBy = names, key
	}
	if key, value := r.field(fileFields); foundBy == "" && key != "" && !r.emptyField(key) {
		var err error
		if found, err = namesIn(key, value); err != nil {
			return nil, err
		}
	}
	return found, r.checkUnreadFields(found)
}

// noFile tells an empty field, which is judged when it is known whether the texts name a
// picture; what stands for NaN is none.
func (r record) emptyField(key string) bool {
	object, ok := r[key].(map[string]any)
	return noImage(r[key]) && (!ok || len(object) > 0)
}

// namesIn are the names in a field's value.
func namesIn(key string, value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	out := []string{}
	for _, one := range list {
		if object, ok := one.(map[string]any); ok {
			_, one = record(object).field([]string{"path", "image", "file_name", "filename", "image_path", "img", "file", "url"})
		}
		s, ok := one.(string)
		if !ok || s == "" {
			return nil, fmt.Errorf("%s names no picture", key)
		}
		out = append(out, s)
	}
	return out, nil
}

// unread refuses fields that bring pictures, sounds or videos which are not among those
// that are read.
func (r record) checkUnreadFields(read []string) error {
	for _, key := range r.keys() {
		plain := plainName(key)
		values := textsIn(r[key])
		switch {
		case slices.Contains(turnFields, plain), imageField.MatchString(plain), len(values) == 0 && r.empty(key):
			continue
		case otherMedia.MatchString(plain):
			return fmt.Errorf("%s is not read: pictures and texts are", key)
		case bytesField.MatchString(plain) && len(read) == 0:
			return fmt.Errorf("%s holds a picture's bytes, which are not read: name a file in image, or write data:image/png;base64, and the bytes there", key)
		}
		for _, value := range values {
			if err := checkUnreadValue(key, plain, value, read); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkUnreadValue(key, plain, value string, read []string) error {
	remote := strings.Contains(value, "://")
	switch {
	case len(read) == 0 && urlField.MatchString(plain) && (plain != "url" && plain != "link" && plain != "uri" && plain != "href" || looksLikeImage(value)):
		return fmt.Errorf("%s names a picture by its address, which is not read: download it, and name the file in image", key)
	case !looksLikeImage(value) || isText(plain):
		return nil
	case len(read) == 0 && !slices.Contains(fileFields, plain):
		return fmt.Errorf("a picture is named by %s, which is not read: call it image", key)
	case len(read) > 0 && !remote && aboutImage.MatchString(plain) && !sameFile(value, read):
		return fmt.Errorf("%s names another picture, which is not read: list all in images", key)
	}
	return nil
}

func isText(plain string) bool {
	return slices.Contains(captionFields, plain) || slices.Contains(questionFields, plain) || slices.Contains(answerFields, plain)
}

// sameFile tells a name by its last element among others.
func sameFile(name string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return path.Base(filepath.ToSlash(n)) == path.Base(filepath.ToSlash(name)) })
}

// looksLikePicture tells a text that names a picture, or is one.
func looksLikeImage(s string) bool {
	s, _, _ = strings.Cut(s, "?")
	return strings.HasPrefix(s, "data:image") || len(s) < 4096 && !strings.ContainsAny(s, "\n") && isImage(s)
}

// textsIn are the texts in a value: itself, those of a list, or of an object in it.
func textsIn(value any) (out []string) {
	switch value := value.(type) {
	case string:
		return []string{value}
	case []any:
		for _, one := range value {
			out = append(out, textsIn(one)...)
		}
	case map[string]any:
		for _, key := range record(value).keys() {
			out = append(out, textsIn(value[key])...)
		}
	}
	return out
}

func (r record) empty(key string) bool {
	switch value := r[key].(type) {
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	case string:
		return value == ""
	case bool:
		return !value
	}
	return false
}

// Role returns the role of a message's author: "system", "user" or "assistant", or "" for an
// unknown one. LLaVA calls the last two human and gpt.
func Role(author string) string {
	switch strings.ToLower(author) {
	case "system":
		return "system"
	case "human", "user":
		return "user"
	case "gpt", "assistant", "model":
		return "assistant"
	}
	return ""
}
