package importer

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"patchwork/vlm/data"
)

// Names of fields, normalized by data.NormalizeName.
var (
	captionFields  = []string{"text", "caption", "description"}
	questionFields = []string{"question", "prompt", "user", "instruction", "query", "prefix", "input"}
	answerFields   = []string{"answer", "response", "assistant", "suffix", "output"}
	turnFields     = []string{"conversations", "messages", "conversation"}

	// imageField names an image file; fileFields do if there is no imageField.
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

// keys returns the names of the fields that are not null, sorted.
func (r record) keys() []string {
	return slices.DeleteFunc(r.allKeys(), func(k string) bool { return r[k] == nil })
}

// allKeys includes fields that are null.
func (r record) allKeys() []string { return slices.Sorted(maps.Keys(r)) }

// field returns the record's field with the first of the names that it has.
func (r record) field(names []string) (name string, value any) {
	for _, name := range names {
		for _, key := range r.keys() {
			if data.NormalizeName(key) == data.NormalizeName(name) {
				return key, r[key]
			}
		}
	}
	return "", nil
}

// text returns the text of the first of the fields: a string, or a number or boolean as
// written. ok is false if there is no such field.
func (r record) text(names []string) (s string, ok bool, err error) {
	name, value := r.field(names)
	if name == "" {
		return "", false, nil
	}
	s, ok = textOf(value)
	if !ok {
		err = fmt.Errorf("%s is not text", name)
	}
	return s, ok, err
}

// images returns the names of the record's images: from a string, a list of strings, or
// objects with a path. It is nil if no field names an image. A field that holds an image in
// a form that is not read is an error.
func (r record) images() ([]string, error) {
	var found []string
	foundBy := ""
	for _, key := range r.keys() {
		if !imageField.MatchString(data.NormalizeName(key)) || r.emptyField(key) {
			continue
		}
		names, err := namesIn(key, r[key])
		if err != nil {
			return nil, err
		}
		if foundBy != "" && !slices.Equal(names, found) {
			return nil, fmt.Errorf("%s and %s name different images: list all of them in images", foundBy, key)
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

// emptyField reports whether an image field is empty. Whether that is an error depends on
// the texts; see emptyImage. The empty object that replaces a NaN does not count.
func (r record) emptyField(key string) bool {
	object, ok := r[key].(map[string]any)
	return noImage(r[key]) && (!ok || len(object) > 0)
}

// namesIn returns the image names in a field's value.
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
			return nil, fmt.Errorf("%s does not name an image", key)
		}
		out = append(out, s)
	}
	return out, nil
}

// checkUnreadFields returns an error if a field holds or names an image, audio or video that
// is not among those read.
func (r record) checkUnreadFields(read []string) error {
	for _, key := range r.keys() {
		plain := data.NormalizeName(key)
		values := textsIn(r[key])
		switch {
		case slices.Contains(turnFields, plain), imageField.MatchString(plain), len(values) == 0 && r.empty(key):
			continue
		case otherMedia.MatchString(plain):
			return fmt.Errorf("%s is not read: only images and texts are", key)
		case bytesField.MatchString(plain) && len(read) == 0:
			return fmt.Errorf("%s holds image bytes, which are not read: put a file name or data:image/png;base64,BYTES into the field image", key)
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
		return fmt.Errorf("%s is the URL of an image, which is not read: download it and name the file in image", key)
	case !looksLikeImage(value) || isText(plain):
		return nil
	case len(read) == 0 && !slices.Contains(fileFields, plain):
		return fmt.Errorf("%s names an image, but is not read: rename it to image", key)
	case len(read) > 0 && !remote && aboutImage.MatchString(plain) && !sameFile(value, read):
		return fmt.Errorf("%s names another image, which is not read: list all of them in images", key)
	}
	return nil
}

func isText(plain string) bool {
	return slices.Contains(captionFields, plain) || slices.Contains(questionFields, plain) || slices.Contains(answerFields, plain)
}

// sameFile reports whether name has the same last element as one of names.
func sameFile(name string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return path.Base(filepath.ToSlash(n)) == path.Base(filepath.ToSlash(name)) })
}

// looksLikeImage reports whether a text is the name of an image file or an image's data:
// URL.
func looksLikeImage(s string) bool {
	s, _, _ = strings.Cut(s, "?")
	return strings.HasPrefix(s, "data:image") || len(s) < 4096 && !strings.ContainsAny(s, "\n") && isImage(s)
}

// textsIn returns all strings in a value, including those in lists and objects.
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
