package vlm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// Processor encodes and decodes text: the tokenizer, with <|image|> added, and the chat template.
type Processor struct {
	*chat.Encoder
	Tokenizer *tokenizer.Tokenizer

	patches         int     // tokens per image; 0 = text only
	AddedImageToken bool    // <|image|> was not in the tokenizer
	AddedAudioToken bool    // nor <|audio|>
	NoChatTemplate  bool    // the model has no chat template
	bos             string  // the tokenizer's bos_token; "" = none
	EOS             []int32 // the tokens that end an answer, those of the chat template first
	Suppressed      []int32 // the tokens that are never generated
	TokenizerConfig []byte  // tokenizer_config.json
	ChatTemplate    []byte  // chat_template.jinja; nil if TokenizerConfig has the template
}

// NewProcessor makes a processor; config is tokenizer_config.json.
func NewProcessor(tok *tokenizer.Tokenizer, template *chat.Template, patches int, config []byte) (*Processor, error) {
	size := tok.Len()
	encoder, err := chat.NewEncoder(tok, template, patches)
	if err != nil {
		return nil, err
	}
	return &Processor{Encoder: encoder, Tokenizer: tok, patches: patches, AddedImageToken: tok.Len() > size, NoChatTemplate: template.Empty(), bos: template.BOSToken(), TokenizerConfig: config}, nil
}

// HearAudio lets conversations have clips of sound: it adds <|audio|> to the tokenizer, if it is
// missing. It is called before the processor is used.
func (p *Processor) HearAudio() error {
	size := p.Tokenizer.Len()
	err := p.Encoder.HearAudio()
	p.AddedAudioToken = p.Tokenizer.Len() > size
	return err
}

// AddedTokens returns the ids of the placeholders that were not in the tokenizer.
func (p *Processor) AddedTokens() (ids []int32) {
	if p.AddedImageToken {
		ids = append(ids, p.ImageID())
	}
	if p.AddedAudioToken {
		ids = append(ids, p.AudioID())
	}
	return ids
}

// Values of --bos: the tokens before a text without a chat template.
const (
	BOSAuto = "auto" // as configured in the tokenizer
	BOSYes  = "yes"  // the tokenizer's bos_token
	BOSNo   = "no"   // nothing
)

// Around returns the ids before and after a text, for one of BOSAuto, BOSYes and BOSNo.
func (p *Processor) Around(bos string) (before, after []int32, err error) {
	switch bos {
	case BOSNo:
		return nil, nil, nil
	case BOSYes:
		id, ok := p.Tokenizer.ID(p.bos)
		if !ok {
			return nil, nil, errors.New("the model has no bos_token; leave --bos out")
		}
		return []int32{id}, nil, nil
	}
	before, after = p.Tokenizer.Around()
	return before, after, nil
}

// SpecialTokens returns the tokenizer's special tokens by their variable in chat templates, such as
// "eos_token".
func (p *Processor) SpecialTokens() map[string]string { return p.Template().SpecialTokens() }

// Raw encodes a text without the chat template, control tokens included, after the tokens of
// images with the given grids, and of clips of sound, which have the given numbers of tokens. Special tokens that the
// tokenizer would append are omitted, since the text continues.
func (p *Processor) Raw(text string, images []chat.Grid, clips []int, bos string) (chat.Tokens, error) {
	before, _, err := p.Around(bos)
	if err != nil {
		return chat.Tokens{}, err
	}
	ids, err := p.Tokenizer.EncodeTrusted(text)
	if err != nil {
		return chat.Tokens{}, err
	}
	if len(before) > 0 && len(ids) > 0 && ids[0] == before[0] {
		before = nil // the text already starts with it
	}
	t := chat.Tokens{IDs: slices.Clone(before)}
	for _, g := range images {
		p.AppendImage(&t, g)
	}
	for _, n := range clips {
		p.AppendClip(&t, n)
	}
	t.IDs = append(t.IDs, ids...)
	t.LossMask = make([]bool, len(t.IDs))
	return t, nil
}

// IsEOS reports whether a token ends an answer.
func (p *Processor) IsEOS(id int32) bool { return p != nil && slices.Contains(p.EOS, id) }

// EOSIDs returns the tokens that end an answer.
func (p *Processor) EOSIDs() []int32 { return slices.Clone(p.EOS) }

// SetEOS sets the tokens that end an answer: those of the chat template, the tokenizer's
// eos_token, and those named by the model's files. If there are none, answers end at the token
// limit.
func (p *Processor) SetEOS(eosToken string, named []int32) {
	p.EOS = p.AnswerEnds()
	if id, ok := p.Tokenizer.ID(eosToken); ok {
		p.AddEOS(id)
	}
	p.AddEOS(named...)
}

// AddEOS adds tokens that end an answer.
func (p *Processor) AddEOS(ids ...int32) {
	for _, id := range ids {
		if !slices.Contains(p.EOS, id) {
			p.EOS = append(p.EOS, id)
		}
	}
}

// LearnsToStop reports whether answers in training end with a token that ends generation.
func (p *Processor) LearnsToStop() bool { return len(p.AnswerEnds()) > 0 }

// EOSTokenID returns eos_token_id of generation_config.json: an id, a list, or nil.
func (p *Processor) EOSTokenID() any {
	switch len(p.EOS) {
	case 0:
		return nil
	case 1:
		return p.EOS[0]
	}
	return p.EOS
}

// GenerationConfig returns the contents of generation_config.json.
func (p *Processor) GenerationConfig() map[string]any {
	out := map[string]any{}
	if len(p.EOS) > 0 {
		out["eos_token_id"], out["pad_token_id"] = p.EOSTokenID(), p.EOS[0]
	}
	if len(p.Suppressed) > 0 {
		out["suppress_tokens"] = p.Suppressed
	}
	return out
}

// NeverGenerated returns the tokens that are never generated; nil: none, or no processor.
func (p *Processor) NeverGenerated() []int32 {
	if p == nil {
		return nil
	}
	return p.Suppressed
}

// Fingerprint returns the SHA-256, in hexadecimal, of all that the tokens of a conversation
// depend on: the tokenizer, the chat template and the number of tokens per image.
func (p *Processor) Fingerprint() (string, error) {
	tok, err := p.Tokenizer.MarshalJSON()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, part := range [][]byte{tok, p.TokenizerConfig, p.ChatTemplate} {
		fmt.Fprintf(hash, "%d\x00", len(part))
		hash.Write(part)
	}
	fmt.Fprintf(hash, "%d", p.patches)
	return hex.EncodeToString(hash.Sum(nil)), nil
}
