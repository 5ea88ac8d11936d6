package chat

import (
	"fmt"
	"slices"
	"strings"

	"patchwork/vlm/tokenizer"
)

// ImageToken represents one patch of an image in the text.
const ImageToken = "<|image|>"

// AudioToken represents one frame of sound in the text, or in a question a whole clip.
const AudioToken = "<|audio|>"

// Turn is one question with its answer.
type Turn struct{ User, Assistant string }

// Conversation is a sample: images and turns about them.
type Conversation struct {
	System *string // system message; nil: the template's default, if any
	Turns  []Turn
	Images int    // number of images, all at the start of the first user message
	Grids  []Grid // of the images; nil: each has the encoder's number of tokens
	// Clips are the tokens of each clip of sound. They are where the questions have AudioToken, if
	// these have as many, or else at the start of the first user message.
	Clips []int
}

// Grid is the patches of an image, each of which is a token.
type Grid struct{ Rows, Cols int }

// Tokens returns the number of tokens.
func (g Grid) Tokens() int { return g.Rows * g.Cols }

// AppendPlaces appends the row and the column of each token.
func (g Grid) AppendPlaces(places []int32) []int32 {
	for patch := range g.Tokens() {
		places = append(places, int32(patch/g.Cols), int32(patch%g.Cols))
	}
	return places
}

// Clip is the tokens of a clip of sound in an encoded text.
type Clip struct{ Start, Tokens int }

// Tokens is an encoded text.
type Tokens struct {
	IDs      []int32
	LossMask []bool // per token: part of an answer or of the end of its turn
	Images   []int  // first image token of each image
	Grids    []Grid // of each image
	Clips    []Clip // of sound
}

// SharedPrefix is a conversation encoded as independent turns after a shared prefix: Prefix
// followed by Turns[i] is the conversation that consists of turn i alone.
type SharedPrefix struct {
	// Prefix ends with the last token of an image or clip; it is empty if there are none.
	Prefix Tokens
	Turns  []Tokens
}

// Encoder encodes conversations as token ids. It is safe for concurrent use.
type Encoder struct {
	tokenizer   *tokenizer.Tokenizer
	template    *Template
	imageTokens int // per image
	imageID     int32
	// imageOpen and imageClose are the tokens around those of an image, as in Gemma 4; or noID. frameID
	// is the token of a patch of a video's frame.
	imageOpen, imageClose, frameID int32

	audioID int32 // noID: conversations are without sound
	// audioOpen and audioClose are the tokens around those of a clip, as in Gemma 4; or noID.
	audioOpen, audioClose int32
	specials              []string
	added                 []string // added tokens, special or not
	ends                  []int32
	longest               int // bytes of the longest token
}

// NewEncoder returns an encoder with a tokenizer and a template. imageTokens is the number
// of tokens (patches) per image. NewEncoder adds ImageToken to the tokenizer if it is
// missing. With imageTokens 0, conversations are text-only and ImageToken is no token.
func NewEncoder(tok *tokenizer.Tokenizer, template *Template, imageTokens int) (*Encoder, error) {
	if imageTokens < 0 {
		return nil, fmt.Errorf("chat: %d tokens per image, want at least 0", imageTokens)
	}
	image := int32(noID)
	if imageTokens > 0 {
		var err error
		if image, err = tok.AddSpecial(ImageToken); err != nil {
			return nil, err
		}
	}
	e := &Encoder{tokenizer: tok, template: template, imageTokens: imageTokens, imageID: image, imageOpen: noID, imageClose: noID, frameID: image, audioID: noID, audioOpen: noID, audioClose: noID, specials: tok.Specials(), added: tok.Added(), longest: tok.LongestToken()}
	if imageTokens > 0 {
		e.imageOpen, e.imageClose = bracket(tok, imageOpenToken, imageCloseToken)
	}
	if id, ok := tok.ID(videoToken); ok && imageTokens > 0 && tok.IsSpecial(id) {
		e.frameID = id
	}
	e.ends = e.findEnds()
	return e, nil
}

// Gemma 4's tokens around those of an image and of a clip, and for patches of a video's frames.
const (
	imageOpenToken, imageCloseToken = "<|image>", "<image|>"
	audioOpenToken, audioCloseToken = "<|audio>", "<audio|>"
	videoToken                      = "<|video|>"
)

// bracket returns the ids of two special tokens, or noID if one is missing.
func bracket(tok *tokenizer.Tokenizer, open, end string) (openID, endID int32) {
	openID, okOpen := tok.ID(open)
	endID, okEnd := tok.ID(end)
	if !okOpen || !okEnd || !tok.IsSpecial(openID) || !tok.IsSpecial(endID) {
		return noID, noID
	}
	return openID, endID
}

// noID is the id of a placeholder that an encoder does not have.
const noID = -1

// HearAudio adds AudioToken to the tokenizer, if it is missing, so that conversations may have
// clips. It is called before the encoder is used.
func (e *Encoder) HearAudio() error {
	id, err := e.tokenizer.AddSpecial(AudioToken)
	if err != nil {
		return err
	}
	e.audioOpen, e.audioClose = bracket(e.tokenizer, audioOpenToken, audioCloseToken)
	e.audioID, e.specials, e.added, e.longest = id, e.tokenizer.Specials(), e.tokenizer.Added(), e.tokenizer.LongestToken()
	return nil
}

// AudioID returns the id of AudioToken, or -1 if conversations are without sound.
func (e *Encoder) AudioID() int32 { return e.audioID }

// ImageID returns the id of ImageToken, or -1 if conversations are text-only.
func (e *Encoder) ImageID() int32 { return e.imageID }

// Template is the chat template.
func (e *Encoder) Template() *Template { return e.template }

// Conversation encodes all turns as one conversation. The error is a *TemplateError.
func (e *Encoder) Conversation(c Conversation) (Tokens, error) {
	if err := c.checkClips(); err != nil {
		return Tokens{}, err
	}
	return e.Messages(c.messages(), Options{})
}

// Prompt encodes the prompt for the answer of the last turn, whose Assistant is ignored.
func (e *Encoder) Prompt(c Conversation, thinking *bool) (Tokens, error) {
	if err := c.checkClips(); err != nil {
		return Tokens{}, err
	}
	messages := c.messages()
	if len(c.Turns) > 0 {
		messages = messages[:len(messages)-1]
	}
	return e.Messages(messages, Options{AddGenerationPrompt: true, Thinking: thinking})
}

// SharedPrefix encodes every turn as if it were the only one.
func (e *Encoder) SharedPrefix(c Conversation) (SharedPrefix, error) {
	var out SharedPrefix
	for i, turn := range c.Turns {
		one, err := e.Conversation(Conversation{System: c.System, Turns: []Turn{turn}, Images: c.Images, Grids: c.Grids, Clips: c.Clips})
		if err != nil {
			return SharedPrefix{}, err
		}
		shared := 0
		if n := len(one.Images); n > 0 {
			shared = one.Images[n-1] + one.Grids[n-1].Tokens()
		}
		if n := len(one.Clips); n > 0 {
			shared = max(shared, one.Clips[n-1].Start+one.Clips[n-1].Tokens)
		}
		prefix, rest := one.splitAt(shared)
		if i > 0 && !slices.Equal(prefix.IDs, out.Prefix.IDs) {
			return SharedPrefix{}, &TemplateError{"the text before the images or the sound differs between turns"}
		}
		out.Prefix, out.Turns = prefix, append(out.Turns, rest)
	}
	return out, nil
}

// splitAt splits t before token at. All images and clips are before at.
func (t Tokens) splitAt(at int) (head, tail Tokens) {
	return Tokens{t.IDs[:at:at], t.LossMask[:at:at], t.Images, t.Grids, t.Clips}, Tokens{IDs: t.IDs[at:], LossMask: t.LossMask[at:]}
}

func (c Conversation) messages() []Message {
	var out []Message
	if c.System != nil {
		out = append(out, Message{Role: "system", Content: *c.System})
	}
	clips, within := c.Clips, c.named() > 0
	for i, turn := range c.Turns {
		user := Message{Role: "user", Content: turn.User}
		if i == 0 {
			user.Images, user.Grids = c.Images, c.Grids
		}
		switch {
		case within:
			n := strings.Count(turn.User, AudioToken)
			user.Clips, clips = clips[:n], clips[n:]
		case i == 0:
			user.Clips = clips
		}
		out = append(out, user, Message{Role: "assistant", Content: turn.Assistant})
	}
	return out
}

// named counts the AudioTokens of the questions, which mean nothing where there are no clips.
func (c Conversation) named() int {
	n := 0
	if len(c.Clips) == 0 {
		return n
	}
	for _, t := range c.Turns {
		n += strings.Count(t.User, AudioToken)
	}
	return n
}

// checkClips returns a *TemplateError if the questions name some of the clips, but not all.
func (c Conversation) checkClips() error {
	if n := c.named(); n > 0 && n != len(c.Clips) {
		return &TemplateError{fmt.Sprintf("the questions have %s %d times, for %d clips of sound", AudioToken, n, len(c.Clips))}
	}
	return nil
}

// Messages encodes messages. Names of control tokens in contents remain text; roles are
// trusted. The error is a *TemplateError, ErrNoTemplate, or the tokenizer's.
func (e *Encoder) Messages(messages []Message, o Options) (Tokens, error) {
	if err := checkImages(messages); err != nil {
		return Tokens{}, err
	}
	pieces, answers, err := e.render(expandClips(messages), o)
	if err != nil {
		return Tokens{}, err
	}
	ids, starts, err := e.tokenizer.EncodeOffsets(pieces...)
	if err != nil {
		return Tokens{}, err
	}
	t, err := e.expandImages(e.bracketClips(Tokens{IDs: ids, LossMask: lossMask(starts, answers)}, messages), messages)
	if err != nil {
		return Tokens{}, err
	}
	t.Clips, err = e.clips(t.IDs, messages)
	return t, err
}

// render renders messages. It returns the text as trusted and untrusted pieces, and the
// spans of the answers, including their end tokens.
//
// Both are found by rendering the messages with span markers. If the markers change the
// output, because the template computes with a message's text, the contents are searched
// for in the text rendered without markers.
func (e *Encoder) render(messages []Message, o Options) (pieces []tokenizer.Piece, answers []span, err error) {
	messages = validUTF8(messages)
	o.imageParts = e.imageID != noID && images(messages) > 0 && e.template.writesImages()
	plain, err := e.template.render(placeImages(messages), o)
	if err != nil {
		return nil, nil, err
	}
	tools := toolTexts(messages, o)
	markers := newSpanMarkers(e.template.source, messages, tools...)
	o.protect = markers.protector(e.specials).Replace
	marked, err := e.template.render(placeImages(e.addMarkers(markers, messages)), o)
	same := false
	var contents contentSpans
	if err == nil {
		pieces, answers, contents = markers.split(marked.text)
		same = join(pieces) == plain.text
	}
	if same {
		err = contents.check(messages)
	} else if e.hasSpecials(tools) {
		err = &TemplateError{"it computes with a message's text, and a tool has the name of a control token"}
	} else {
		pieces, answers, contents, err = e.locateContents(plain.text, messages)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case len(plain.generated) > 0 && plain.misplaced == 0: // {% generation %} marks the answers
		return pieces, plain.generated, nil
	}
	for i := range answers {
		hi := answers[i].hi
		answers[i].hi = e.endAfter(plain.text, hi, contents.next(hi, len(plain.text)))
	}
	return pieces, answers, nil
}

// validUTF8 returns the messages with invalid UTF-8 replaced by U+FFFD.
func validUTF8(messages []Message) []Message {
	out := slices.Clone(messages)
	for i := range out {
		out[i].Content, out[i].Reasoning = strings.ToValidUTF8(out[i].Content, "\uFFFD"), strings.ToValidUTF8(out[i].Reasoning, "\uFFFD")
	}
	return out
}

// addMarkers returns the messages with markers around their contents and around names of
// special tokens in them.
func (e *Encoder) addMarkers(m spanMarkers, messages []Message) []Message {
	protector := m.protector(e.specials)
	out := slices.Clone(messages)
	for i := range out {
		one, protect := &out[i], protector
		if one.ImagesInText || one.clipsWithin {
			protect = m.protector(slices.DeleteFunc(slices.Clone(e.specials), func(name string) bool {
				return name == ImageToken && one.ImagesInText || name == AudioToken && one.clipsWithin
			}))
		}
		one.Content, one.Reasoning = m.around(i, one.Role, protect.Replace(one.Content)), protect.Replace(one.Reasoning)
	}
	return out
}

// lossMask reports for each token whether it overlaps one of the spans, which are
// ascending. starts are the byte offsets of the tokens.
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
