// Package packing packs samples into the rows of a batch and computes the decoder's
// inputs for each token: its position, the keys it attends to and its target.
package packing

import (
	"fmt"
	"slices"
	"strings"
)

// Attention is the attention mask of a batch.
type Attention string

const (
	// Document is causal within each sample. Positions restart at each sample.
	Document Attention = "document"
	// DocumentBidirectionalImage is Document with bidirectional attention among the tokens
	// of an image.
	DocumentBidirectionalImage Attention = "document_bidirectional_image"
	// Causal is causal over the whole row, across samples, as in the original recipe.
	Causal Attention = "causal"
)

// UnmarshalText reads a mode by its current or its former name.
func (a *Attention) UnmarshalText(text []byte) error {
	*a = Attention(CurrentName(string(text)))
	return nil
}

// Turns is how the turns of a conversation are laid out.
type Turns string

const (
	// InConversation keeps the turns as one conversation.
	InConversation Turns = "conversation"
	// SharedPrefix makes each turn a conversation of its own after a shared prefix, the
	// images. Turns do not attend to each other.
	SharedPrefix Turns = "shared_prefix"
)

// UnmarshalText reads a mode by its current or its former name.
func (t *Turns) UnmarshalText(text []byte) error {
	*t = Turns(CurrentName(string(text)))
	return nil
}

// CurrentName returns the current name of a mode, given its current name or the one of an
// earlier version, as in old files and command lines.
func CurrentName(mode string) string {
	switch mode {
	case "seed":
		return string(Causal)
	case "branches":
		return string(SharedPrefix)
	}
	return mode
}

// Loss selects the tokens with a loss.
type Loss string

const (
	// OnAll is all text tokens.
	OnAll Loss = "all"
	// OnAnswers is the assistant's tokens, including the end of each turn.
	OnAnswers Loss = "answers"
)

// Modes are the settings of a run.
type Modes struct {
	Attention Attention
	Turns     Turns
	Loss      Loss
}

// ModeError reports an unknown mode or a combination that is not allowed.
type ModeError struct{ Reason string }

func (e *ModeError) Error() string { return e.Reason }

// Check returns a *ModeError if the modes are invalid.
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
		return &ModeError{"attention causal spans the whole row, so turns cannot be shared_prefix; add --turns conversation"}
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
	return &ModeError{fmt.Sprintf("unknown %s %q; want one of %s", what, string(got), strings.Join(names, ", "))}
}
