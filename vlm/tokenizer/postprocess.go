package tokenizer

import (
	"encoding/json"
	"fmt"
)

// postProcessor is the post_processor of a tokenizer.json, which adds tokens around a text.
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

// Around returns the ids that the tokenizer's post-processor adds before and after a text,
// such as the BOS token of Llama 3. Encode does not add them, since chat templates write
// their own.
func (t *Tokenizer) Around() (before, after []int32) { return t.before, t.after }

// parsePostProcessor returns the ids that a post-processor adds around a text.
func parsePostProcessor(raw json.RawMessage, depth int) (before, after []int32, err error) {
	if isNull(raw) {
		return nil, nil, nil
	}
	var p postProcessor
	if depth > maxNesting {
		return nil, nil, &UnsupportedError{fmt.Sprintf("a post-processor nested more than %d levels deep", maxNesting)}
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, nil, &FormatError{"post_processor: " + err.Error()}
	}
	switch p.Type {
	case "ByteLevel":
	case "Sequence":
		templated := false // in Hugging Face's library, only the first template adds tokens
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
			before, after = append(outer, before...), append(after, end...)
		}
	case "TemplateProcessing":
		return p.template()
	case "RobertaProcessing", "BertProcessing":
		if before, err = pairID(p.CLS); err == nil {
			after, err = pairID(p.SEP)
		}
	default:
		err = &UnsupportedError{"post-processor " + p.Type}
	}
	return before, after, err
}

func (p *postProcessor) template() (before, after []int32, err error) {
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
				after = append(after, token.IDs...)
			} else {
				before = append(before, token.IDs...)
			}
		}
	}
	return before, after, nil
}

func pairID(pair []json.RawMessage) ([]int32, error) {
	var id int32
	if len(pair) != 2 || json.Unmarshal(pair[1], &id) != nil {
		return nil, &FormatError{"post_processor: cls and sep must each be a token and its id"}
	}
	return []int32{id}, nil
}

// aroundTemplate returns a TemplateProcessing that adds tokens around a text.
func aroundTemplate(before, after []string, ids map[string]int32) (json.RawMessage, error) {
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
			special(after)
		}
		return out
	}
	return encodeJSON(map[string]any{"type": "TemplateProcessing", "single": build("A"), "pair": build("A", "B"), "special_tokens": specials})
}
