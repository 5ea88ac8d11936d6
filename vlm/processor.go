package vlm

import (
	"errors"
	"slices"

	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// Processor encodes and decodes a model's text: its tokenizer, with <|image|> added, and
// its chat template.
type Processor struct {
	*chat.Encoder
	Tokenizer *tokenizer.Tokenizer

	patches         int     // tokens of an image; 0 = text only
	AddedImageToken bool    // <|image|> was not in the tokenizer
	NoChatTemplate  bool    // the model has no chat template
	bos             string  // the tokenizer's bos_token; "" = none
	EOS             []int32 // the tokens that end an answer; the chat template's first
	TokenizerConfig []byte  // tokenizer_config.json
	ChatTemplate    []byte  // chat_template.jinja; nil if the template is in TokenizerConfig
}

// NewProcessor makes the processor of a tokenizer and a chat template; config is
// tokenizer_config.json.
func NewProcessor(tok *tokenizer.Tokenizer, template *chat.Template, patches int, config []byte) (*Processor, error) {
	own := tok.Len()
	encoder, err := chat.NewEncoder(tok, template, patches)
	if err != nil {
		return nil, err
	}
	return &Processor{Encoder: encoder, Tokenizer: tok, patches: patches, AddedImageToken: tok.Len() > own, NoChatTemplate: template.Empty(), bos: template.BOSToken(), TokenizerConfig: config}, nil
}

// The start of a text that is passed to the model without its chat template.
const (
	BOSAuto = "auto" // the tokenizer's own special tokens
	BOSYes  = "yes"  // the tokenizer's bos_token
	BOSNo   = "no"   // nothing
)

// Around returns the ids before and after a text; bos is one of the above.
func (l *Processor) Around(bos string) (before, after []int32, err error) {
	switch bos {
	case BOSNo:
		return nil, nil, nil
	case BOSYes:
		id, ok := l.Tokenizer.ID(l.bos)
		if !ok {
			return nil, nil, errors.New("the model has no bos_token to put before the text; leave --bos out")
		}
		return []int32{id}, nil, nil
	}
	before, after = l.Tokenizer.Around()
	return before, after, nil
}

// Raw encodes a text without the chat template, control tokens included, after so many
// images. The special tokens that the tokenizer appends are left out, as the text continues.
func (l *Processor) Raw(text string, images int, bos string) (chat.Tokens, error) {
	before, _, err := l.Around(bos)
	if err != nil {
		return chat.Tokens{}, err
	}
	ids, err := l.Tokenizer.EncodeTrusted(text)
	if err != nil {
		return chat.Tokens{}, err
	}
	if len(before) > 0 && len(ids) > 0 && ids[0] == before[0] {
		before = nil // the text already starts with it
	}
	t := chat.Tokens{IDs: slices.Clone(before)}
	for range images {
		t.Images = append(t.Images, len(t.IDs))
		for range l.patches {
			t.IDs = append(t.IDs, l.ImageID())
		}
	}
	t.IDs = append(t.IDs, ids...)
	t.LossMask = make([]bool, len(t.IDs))
	return t, nil
}

// Ends reports whether a token ends an answer.
func (l *Processor) IsEOS(id int32) bool { return l != nil && slices.Contains(l.EOS, id) }

// EndIDs are the tokens that end an answer.
func (l *Processor) EOSIDs() []int32 { return slices.Clone(l.EOS) }

// SetEnds sets the tokens that end an answer: those of the chat template, then the
// tokenizer's eos_token, then those that the model's files name. Without any, answers end at
// the limit of tokens.
func (l *Processor) SetEOS(eosToken string, named []int32) {
	l.EOS = l.AnswerEnds()
	if id, ok := l.Tokenizer.ID(eosToken); ok {
		named = append([]int32{id}, named...)
	}
	for _, id := range named {
		if !slices.Contains(l.EOS, id) {
			l.EOS = append(l.EOS, id)
		}
	}
}

// LearnsToStop reports whether answers in training end with a token that ends generation.
func (l *Processor) LearnsToStop() bool { return len(l.AnswerEnds()) > 0 }

// EOSTokens is the eos_token_id of generation_config.json: one id, a list, or nil.
func (l *Processor) EOSTokenID() any {
	switch len(l.EOS) {
	case 0:
		return nil
	case 1:
		return l.EOS[0]
	}
	return l.EOS
}

// GenerationConfig is generation_config.json.
func (l *Processor) GenerationConfig() map[string]any {
	out := map[string]any{}
	if len(l.EOS) > 0 {
		out["eos_token_id"], out["pad_token_id"] = l.EOSTokenID(), l.EOS[0]
	}
	return out
}
