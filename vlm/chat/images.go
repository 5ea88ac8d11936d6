package chat

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// images returns the number of images in the messages.
func images(messages []Message) int {
	n := 0
	for _, m := range messages {
		n += m.Images
	}
	return n
}

// placeImages prepends an image token for each image, and the tokens of clips, to the messages'
// contents, unless they are within.
func placeImages(messages []Message) []Message {
	out := slices.Clone(messages)
	for i := range out {
		images := ""
		if !out[i].ImagesInText {
			images = strings.Repeat(ImageToken, out[i].Images)
		}
		out[i].Content = images + out[i].clipsBefore() + out[i].Content
	}
	return out
}

// checkImages returns an error for a message whose images are not where it says.
func checkImages(messages []Message) error {
	for i, m := range messages {
		if n := strings.Count(m.Content, ImageToken); m.ImagesInText && n != m.Images {
			return fmt.Errorf("chat: message %d has %s %d times, for %d images", i+1, ImageToken, n, m.Images)
		}
		if m.Grids != nil && len(m.Grids) != m.Images {
			return fmt.Errorf("chat: message %d has %d grids for %d images", i+1, len(m.Grids), m.Images)
		}
	}
	return nil
}

// grids returns the grid of each image of the messages, in their order.
func (e *Encoder) grids(messages []Message) []Grid {
	var out []Grid
	for _, m := range messages {
		if m.Grids != nil {
			out = append(out, m.Grids...)
			continue
		}
		out = append(out, slices.Repeat([]Grid{SquareGrid(e.imageTokens)}, m.Images)...)
	}
	return out
}

// SquareGrid is the grid of a square image of a number of tokens; one row if that is no square.
func SquareGrid(tokens int) Grid {
	if side := int(math.Sqrt(float64(tokens))); side*side == tokens {
		return Grid{side, side}
	}
	return Grid{1, tokens}
}

// expandImages puts as many image tokens as an image has patches in the place of each image token,
// and the tokens that open and close an image around them.
func (e *Encoder) expandImages(t Tokens, messages []Message) (Tokens, error) {
	grids := e.grids(messages)
	found := 0
	for _, id := range t.IDs {
		if id == e.imageID {
			found++
		}
	}
	if found != len(grids) {
		return Tokens{}, &TemplateError{fmt.Sprintf("the rendered text has %d of %d images", found, len(grids))}
	}
	if found == 0 {
		return t, nil
	}
	var out Tokens
	for i, id := range t.IDs {
		if id == e.imageID {
			e.AppendImage(&out, grids[len(out.Images)])
		} else {
			out.IDs = append(out.IDs, id)
		}
		for len(out.LossMask) < len(out.IDs) {
			out.LossMask = append(out.LossMask, t.LossMask[i])
		}
	}
	return out, nil
}

// AppendImage appends the ids of an image: those that open and close it, and between them one for
// each patch. It leaves the loss mask to the caller.
func (e *Encoder) AppendImage(t *Tokens, grid Grid) {
	if e.imageOpen != noID {
		t.IDs = append(t.IDs, e.imageOpen)
	}
	t.Images, t.Grids = append(t.Images, len(t.IDs)), append(t.Grids, grid)
	t.IDs = append(t.IDs, slices.Repeat([]int32{e.imageID}, grid.Tokens())...)
	if e.imageClose != noID {
		t.IDs = append(t.IDs, e.imageClose)
	}
}

// ImageTokens returns the number of tokens of a conversation's images.
func (e *Encoder) ImageTokens(c Conversation) int {
	if c.Grids == nil {
		return c.Images * e.imageTokens
	}
	n := 0
	for _, g := range c.Grids {
		n += g.Tokens()
	}
	return n
}
