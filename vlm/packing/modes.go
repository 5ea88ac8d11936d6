// Package batch packs samples into rows and lays out what the decoder needs to
// know of each token: its position, the keys it sees and the token it predicts.
package packing

import (
	"fmt"
	"slices"
	"strings"
)

// Attention says which tokens see each other.
type Attention string

const (
	// Document is causal inside each sample; positions restart with each.
	Document Attention = "document"
	// DocumentBidirectionalImage is Document, and the tokens of one image see each
	// other both ways.
	DocumentBidirectionalImage Attention = "document_bidirectional_image"
	// Causal is causal over the whole row, as in the original recipe.
	Causal Attention = "causal"
)

// UnmarshalText reads a mode by its current or its former name.
func (a *Attention) UnmarshalText(text []byte) error {
	*a = Attention(CurrentName(string(text)))
	return nil
}

// Turns says how the turns of a sample lie in a row.
type Turns string

const (
	// InConversation puts a sample's turns one after another.
	InConversation Turns = "conversation"
	// SharedPrefix puts each turn behind the shared images, unseen by the others.
	SharedPrefix Turns = "shared_prefix"
)

// UnmarshalText reads a mode by its current or its former name.
func (t *Turns) UnmarshalText(text []byte) error {
	*t = Turns(CurrentName(string(text)))
	return nil
}

// CurrentName is the name of a mode, given that or the one of earlier versions, which
// files and command lines may still have.
func CurrentName(mode string) string {
	switch mode {
	case "seed":
		return string(Causal)
	case "branches":
		return string(SharedPrefix)
	}
	return mode
}

// Loss says which tokens are to be predicted.
type Loss string

const (
	// OnAll is every text token.
	OnAll Loss = "all"
	// OnAnswers is the assistant's words and the end of its turns.
	OnAnswers Loss = "answers"
)

// Modes are a run's choices.
type Modes struct {
	Attention Attention
	Turns     Turns
	Loss      Loss
}

// ModeError is a mode that does not exist or does not go with another.
type ModeError struct{ Reason string }

func (e *ModeError) Error() string { return e.Reason }

// Check returns a *ModeError that says what is wrong with the modes, or nil.
func (m Modes) Check() error {
	if err := oneOf("attention", m.Attention, Document, DocumentBidirectionalImage, Causal); err != nil {
		return err
	}
	if err := oneOf("turns", m.Turns, InConversation, SharedPrefix); err != nil {
		return err
	}
	if err := oneOf("loss", m.Loss, OnAll, OnAnswers); err != nil {
		return err
	}
	if m.Attention == Causal && m.Turns == SharedPrefix {
		return &ModeError{"attention causal sees the whole row, so turns cannot be shared_prefix; add --turns conversation"}
	}
	return nil
}

func oneOf[T ~string](what string, got T, known ...T) error {
	if slices.Contains(known, got) {
		return nil
	}
	var names []string
	for _, k := range known {
		names = append(names, string(k))
	}
	return &ModeError{fmt.Sprintf("%s %q is none of %s", what, string(got), strings.Join(names, ", "))}
}
