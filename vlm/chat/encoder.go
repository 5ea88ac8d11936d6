package chat

import (
	"fmt"
	"slices"
	"strings"

	"patchwork/vlm/tokenizer"
)

// ImageToken stands in the text for one patch of a picture.
const ImageToken = "<|image|>"

// Turn is one question with its answer.
type Turn struct{ User, Assistant string }

// Conversation is a sample: pictures and turns about them.
type Conversation struct {
	System *string // nil: the template's own default, if it has one
	Turns  []Turn
	Images int // they open the first user message
}

// Tokens are an encoded text.
type Tokens struct {
	IDs      []int32
	LossMask []bool // the assistant's words and the token that ends its turn
	Images   []int  // where each picture's run of image tokens starts
}

// Branched is a conversation whose turns stand side by side behind what they share:
// Prefix followed by one of Branches is that turn's own conversation.
type SharedPrefix struct {
	// Prefix ends with the last image token; without images it is empty.
	Prefix Tokens
	Turns  []Tokens
}

// Encoder turns conversations into ids. It is safe for concurrent use.
type Encoder struct {
	tokenizer   *tokenizer.Tokenizer
	template    *Template
	imageTokens int // of one picture
	imageID     int32
	specials    []string
	added       []string // tokens beside the vocabulary's words, special or not
	ends        []int32
	longest     int // bytes that a token stands for
}

// NewEncoder joins a tokenizer and a template. It adds ImageToken to the tokenizer
// where that lacks it; imageTokens is the number of patches of a picture. With 0
// the conversations are text alone, and ImageToken is no token.
func NewEncoder(tok *tokenizer.Tokenizer, template *Template, imageTokens int) (*Encoder, error) {
	if imageTokens < 0 {
		return nil, fmt.Errorf("chat: a picture of %d tokens", imageTokens)
	}
	image := int32(noImageID)
	if imageTokens > 0 {
		var err error
		if image, err = tok.AddSpecial(ImageToken); err != nil {
			return nil, err
		}
	}
	e := &Encoder{tokenizer: tok, template: template, imageTokens: imageTokens, imageID: image, specials: tok.Specials(), added: tok.Added(), longest: tok.LongestToken()}
	e.ends = e.findEnds()
	return e, nil
}

// noImageID stands for the id of ImageToken where there is none.
const noImageID = -1

// Render returns the text of a conversation; see Template.Render.
func (e *Encoder) Render(messages []Message, o Options) (string, error) {
	return e.template.Render(messages, o)
}

// ImageID returns the id of ImageToken; -1 where conversations are text alone.
func (e *Encoder) ImageID() int32 { return e.imageID }

// Conversation encodes the turns one after another. The error is a *TemplateError.
func (e *Encoder) Conversation(c Conversation) (Tokens, error) {
	return e.Messages(c.messages(), Options{})
}

// Prompt encodes what the model sees before it answers the last turn, whose
// Assistant is not looked at.
func (e *Encoder) Prompt(c Conversation, thinking *bool) (Tokens, error) {
	messages := c.messages()
	if len(c.Turns) > 0 {
		messages = messages[:len(messages)-1]
	}
	return e.Messages(messages, Options{AddGenerationPrompt: true, Thinking: thinking})
}

// Branches encodes every turn as if it were the only one.
func (e *Encoder) SharedPrefix(c Conversation) (SharedPrefix, error) {
	var out SharedPrefix
	for i, turn := range c.Turns {
		one, err := e.Conversation(Conversation{c.System, []Turn{turn}, c.Images})
		if err != nil {
			return SharedPrefix{}, err
		}
		shared := 0
		if n := len(one.Images); n > 0 {
			shared = one.Images[n-1] + e.imageTokens
		}
		prefix, branch := one.splitAt(shared)
		if i > 0 && !slices.Equal(prefix.IDs, out.Prefix.IDs) {
			return SharedPrefix{}, &TemplateError{"what stands before the images differs from turn to turn"}
		}
		out.Prefix, out.Turns = prefix, append(out.Turns, branch)
	}
	return out, nil
}

// cut cuts before the token at, which no image reaches beyond.
func (t Tokens) splitAt(at int) (head, tail Tokens) {
	return Tokens{t.IDs[:at:at], t.LossMask[:at:at], t.Images}, Tokens{IDs: t.IDs[at:], LossMask: t.LossMask[at:]}
}

func (c Conversation) messages() []Message {
	var out []Message
	if c.System != nil {
		out = append(out, Message{Role: "system", Content: *c.System})
	}
	for i, turn := range c.Turns {
		user := Message{Role: "user", Content: turn.User}
		if i == 0 {
			user.Images = c.Images
		}
		out = append(out, user, Message{Role: "assistant", Content: turn.Assistant})
	}
	return out
}

// Messages encodes any messages. Roles are trusted, contents are not.
func (e *Encoder) Messages(messages []Message, o Options) (Tokens, error) {
	pieces, answers, err := e.render(messages, o)
	if err != nil {
		return Tokens{}, err
	}
	ids, starts, err := e.tokenizer.EncodeOffsets(pieces...)
	if err != nil {
		return Tokens{}, err
	}
	t := Tokens{IDs: ids, LossMask: lossMask(starts, answers)}
	for i := 0; i < len(ids); i++ {
		if ids[i] == e.imageID {
			t.Images = append(t.Images, i)
			i += e.imageTokens - 1
		}
	}
	if want := images(messages); len(t.Images) != want {
		return Tokens{}, &TemplateError{fmt.Sprintf("%d of %d images are left in the rendered text", len(t.Images), want)}
	}
	return t, nil
}

// render renders messages and says which of the text is trusted, and where the answers
// are in it, their ends included. Marks in the messages tell; where a template computes
// with a message's text, so that marks would change what it writes, the messages' words
// are looked for in what it writes without them.
func (e *Encoder) render(messages []Message, o Options) (pieces []tokenizer.Piece, answers []span, err error) {
	messages = validUTF8(messages)
	plain, err := e.template.render(e.placeImages(messages), o)
	if err != nil {
		return nil, nil, err
	}
	marks := newSpanMarkers(e.template.source, messages)
	marked, err := e.template.render(e.placeImages(e.addMarkers(marks, messages)), o)
	same := false
	var words contentSpans
	if err == nil {
		pieces, answers, words = marks.split(marked.text)
		same = join(pieces) == plain.text
	}
	if same {
		err = words.check(messages)
	} else {
		pieces, answers, words, err = e.locateContents(plain.text, messages)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case len(plain.generated) > 0 && plain.misplaced == 0: // the template says itself what is an answer
		return pieces, plain.generated, nil
	}
	for i := range answers {
		hi := answers[i].hi
		answers[i].hi = e.endAfter(plain.text, hi, words.next(hi, len(plain.text)))
	}
	return pieces, answers, nil
}

// valid is the messages in valid UTF-8.
func validUTF8(messages []Message) []Message {
	out := slices.Clone(messages)
	for i := range out {
		out[i].Content, out[i].Reasoning = strings.ToValidUTF8(out[i].Content, "\uFFFD"), strings.ToValidUTF8(out[i].Reasoning, "\uFFFD")
	}
	return out
}

// placeImages puts the image tokens before the messages' texts.
func (e *Encoder) placeImages(messages []Message) []Message {
	out := slices.Clone(messages)
	for i := range out {
		out[i].Content = strings.Repeat(ImageToken, out[i].Images*e.imageTokens) + out[i].Content
	}
	return out
}

// mark returns the messages with marks around untrusted names and around what each says.
func (e *Encoder) addMarkers(m spanMarkers, messages []Message) []Message {
	protect := m.protector(e.specials)
	out := slices.Clone(messages)
	for i := range out {
		one := &out[i]
		one.Content, one.Reasoning = m.around(i, one.Role, protect.Replace(one.Content)), protect.Replace(one.Reasoning)
	}
	return out
}

// inSpans marks the tokens that touch one of the spans, which are in order; starts are
// where the tokens start.
func lossMask(starts []int32, spans []span) []bool {
	out := make([]bool, len(starts))
	for i, start := range starts {
		for len(spans) > 0 && spans[0].hi <= int(start) {
			spans = spans[1:]
		}
		last := i+1 == len(starts)
		out[i] = len(spans) > 0 && (last || int(starts[i+1]) > spans[0].lo)
	}
	return out
}

func join(pieces []tokenizer.Piece) string {
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.Text)
	}
	return b.String()
}

func images(messages []Message) int {
	n := 0
	for _, m := range messages {
		n += m.Images
	}
	return n
}
