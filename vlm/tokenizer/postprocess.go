package tokenizer

import (
	"encoding/json"
	"fmt"
)

// postProcessor is tokenizer.json's post_processor: what is put around a text.
type postProcessor struct {
	Type       string            `json:"type"`
	Processors []json.RawMessage `json:"processors"`
	// TemplateProcessing
	Single []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct {
			ID string `json:"id"`
		}
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"`
	// RobertaProcessing and BertProcessing: a token's text and its id
	CLS []json.RawMessage `json:"cls"`
	SEP []json.RawMessage `json:"sep"`
}

// Around returns the ids that the tokenizer's post-processor puts before and behind a
// text, such as the begin token of Llama 3. Chat templates write their own, so that
// Encode never adds them.
func (t *Tokenizer) Around() (before, behind []int32) { return t.before, t.after }

// parsePostProcessor returns what a post-processor puts around a text.
func parsePostProcessor(raw json.RawMessage, depth int) (before, behind []int32, err error) {
	if isNull(raw) {
		return nil, nil, nil
	}
	var p postProcessor
	if depth > maxNesting {
		return nil, nil, &UnsupportedError{fmt.Sprintf("a post-processor that is nested more than %d times", maxNesting)}
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, nil, &FormatError{"post_processor: " + err.Error()}
	}
	switch p.Type {
	case "ByteLevel":
	case "Sequence":
		templated := false // Hugging Face's second template that adds tokens adds none
		for _, part := range p.Processors {
			var kind struct{ Type string }
			outer, end, err := parsePostProcessor(part, depth+1)
			if err != nil {
				return nil, nil, err
			}
			if json.Unmarshal(part, &kind) == nil && kind.Type == "TemplateProcessing" && len(outer)+len(end) > 0 {
				if templated {
					continue
				}
				templated = true
			}
			before, behind = append(outer, before...), append(behind, end...)
		}
	case "TemplateProcessing":
		return p.template()
	case "RobertaProcessing", "BertProcessing":
		if before, err = pairID(p.CLS); err == nil {
			behind, err = pairID(p.SEP)
		}
	default:
		err = &UnsupportedError{"post-processor " + p.Type}
	}
	return before, behind, err
}

func (p *postProcessor) template() (before, behind []int32, err error) {
	seen := false
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil:
			seen = true
		case piece.SpecialToken != nil:
			token, ok := p.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return nil, nil, &FormatError{fmt.Sprintf("post_processor: %q has no id", piece.SpecialToken.ID)}
			}
			if seen {
				behind = append(behind, token.IDs...)
			} else {
				before = append(before, token.IDs...)
			}
		}
	}
	return before, behind, nil
}

func pairID(pair []json.RawMessage) ([]int32, error) {
	var id int32
	if len(pair) != 2 || json.Unmarshal(pair[1], &id) != nil {
		return nil, &FormatError{"post_processor: cls or sep is no token with its id"}
	}
	return []int32{id}, nil
}

// aroundTemplate is a TemplateProcessing that puts tokens around a text.
func aroundTemplate(before, behind []string, ids map[string]int32) (json.RawMessage, error) {
	type named struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
	type token struct {
		ID     string   `json:"id"`
		IDs    []int32  `json:"ids"`
		Tokens []string `json:"tokens"`
	}
	specials := map[string]token{}
	build := func(sequences ...string) []map[string]named {
		var out []map[string]named
		for i, sequence := range sequences {
			special := func(names []string) {
				for _, name := range names {
					out = append(out, map[string]named{"SpecialToken": {name, i}})
					specials[name] = token{name, []int32{ids[name]}, []string{name}}
				}
			}
			special(before)
			out = append(out, map[string]named{"Sequence": {sequence, i}})
			special(behind)
		}
		return out
	}
	return encodeJSON(map[string]any{"type": "TemplateProcessing", "single": build("A"), "pair": build("A", "B"), "special_tokens": specials})
}
