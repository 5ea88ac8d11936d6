package importer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"patchwork/vlm/data"
)

// unreadTextFields are fields of other formats with parts of a question or answer, which
// are not read.
var unreadTextFields = []string{"hint", "context", "passage", "choices", "options", "explanation", "rationale", "system", "system_prompt", "lecture", "solution", "reasoning", "reasoning_content", "background", "article", "document", "answers", "captions", "texts", "questions", "history"}

// unusedTexts returns the known text fields of a record that are not in used.
func (r record) unusedTexts(used []string) (out []string) {
	known := slices.Concat(captionFields, questionFields, answerFields, turnFields, unreadTextFields)
	for _, key := range r.keys() {
		isKnown := slices.ContainsFunc(known, func(k string) bool { return data.NormalizeName(k) == data.NormalizeName(key) })
		if isKnown && nonEmpty(r[key]) && !slices.Contains(used, key) {
			out = append(out, key)
		}
	}
	return out
}

// nonEmpty reports whether a value contains a number, a boolean or a text that is not blank.
func nonEmpty(value any) bool {
	if _, ok := scalarText(value); ok {
		return true
	}
	return slices.ContainsFunc(textsIn(value), func(s string) bool { return strings.TrimSpace(s) != "" })
}

// scalarText returns a number or boolean as written.
func scalarText(value any) (string, bool) {
	switch value := value.(type) {
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}

// textOf returns a string, or a number or boolean as written.
func textOf(value any) (string, bool) {
	if s, ok := value.(string); ok {
		return s, true
	}
	return scalarText(value)
}

// emptyImage returns an error if a field that should name an image is null or empty.
func (r record) emptyImage() error {
	for _, key := range r.allKeys() {
		plain := data.NormalizeName(key)
		bare := plain == "url" || plain == "uri" || plain == "link" || plain == "href"
		if !isImageField(plain) && !bytesField.MatchString(plain) && (bare || !urlField.MatchString(plain)) {
			continue
		}
		switch {
		case r[key] == nil:
			return fmt.Errorf("the image field %s is null", key)
		case noImage(r[key]):
			return fmt.Errorf("the image field %s is empty", key)
		}
	}
	return nil
}

// noImage reports whether a value is null or contains nothing but blanks and nulls.
func noImage(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(value) == ""
	case []any:
		return !slices.ContainsFunc(value, func(one any) bool { return !noImage(one) })
	case map[string]any:
		for _, one := range value {
			if !noImage(one) {
				return false
			}
		}
		return true
	}
	return false
}
