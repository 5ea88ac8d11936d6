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
		out = append(out, slices.Repeat([]Grid{e.defaultGrid()}, m.Images)...)
	}
	return out
}

// defaultGrid is the grid of an image of the encoder's number of tokens: a square if it is one.
func (e *Encoder) defaultGrid() Grid {
	if side := int(math.Sqrt(float64(e.imageTokens))); side*side == e.imageTokens {
		return Grid{side, side}
	}
	return Grid{1, e.imageTokens}
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
	out := Tokens{Grids: grids}
	put := func(id int32, count int, loss bool) {
		for range count {
			out.IDs, out.LossMask = append(out.IDs, id), append(out.LossMask, loss)
		}
	}
	for i, id := range t.IDs {
		if id != e.imageID {
			put(id, 1, t.LossMask[i])
			continue
		}
		grid := grids[len(out.Images)]
		if e.imageOpen != noID {
			put(e.imageOpen, 1, t.LossMask[i])
		}
		out.Images = append(out.Images, len(out.IDs))
		put(e.imageID, grid.Tokens(), t.LossMask[i])
		if e.imageClose != noID {
			put(e.imageClose, 1, t.LossMask[i])
		}
	}
	return out, nil
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
