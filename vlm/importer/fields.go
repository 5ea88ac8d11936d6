package importer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// besideFields hold texts that belong to a question or an answer in other tools' forms,
// and are not read.
var unreadTextFields = []string{"hint", "context", "passage", "choices", "options", "explanation", "rationale", "system", "system_prompt", "lecture", "solution", "reasoning", "reasoning_content", "background", "article", "document", "answers", "captions", "texts", "questions", "history"}

// unusedTexts are the fields of a record with texts that none of those used are.
func (r record) unusedTexts(used []string) (out []string) {
	known := slices.Concat(captionFields, questionFields, answerFields, turnFields, unreadTextFields)
	for _, key := range r.keys() {
		isKnown := slices.ContainsFunc(known, func(k string) bool { return plainName(k) == plainName(key) })
		if isKnown && nonEmpty(r[key]) && !slices.Contains(used, key) {
			out = append(out, key)
		}
	}
	return out
}

// filled tells a value that says something.
func nonEmpty(value any) bool {
	if _, ok := scalarText(value); ok {
		return true
	}
	return slices.ContainsFunc(textsIn(value), func(s string) bool { return strings.TrimSpace(s) != "" })
}

// written is a number or a truth value as it is written.
func scalarText(value any) (string, bool) {
	switch value := value.(type) {
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}

// textOf is a value that says a text: a string, a number, or a truth value.
func textOf(value any) (string, bool) {
	if s, ok := value.(string); ok {
		return s, true
	}
	return scalarText(value)
}

// emptyPicture names a field that would name a picture and is null or empty.
func (r record) emptyImage() error {
	for _, key := range r.allKeys() {
		plain := plainName(key)
		bare := plain == "url" || plain == "uri" || plain == "link" || plain == "href"
		if !isImageField(plain) && !bytesField.MatchString(plain) && (bare || !urlField.MatchString(plain)) {
			continue
		}
		switch {
		case r[key] == nil:
			return fmt.Errorf("names a picture by %s, which is null", key)
		case noImage(r[key]):
			return fmt.Errorf("names a picture by %s, which is empty", key)
		}
	}
	return nil
}

// noPicture tells a value with nothing in it, which names no picture.
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
