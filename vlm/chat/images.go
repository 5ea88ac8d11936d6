package chat

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Frame is a still of a video.
type Frame struct {
	Time float64 // seconds from the start
	Grid Grid
}

// Clock is the time as it is written before a frame: minutes and seconds (transformers,
// processing_gemma4.py, replace_video_token).
func (f Frame) Clock() string {
	seconds := int(f.Time)
	return fmt.Sprintf("%02d:%02d", seconds/60, seconds%60)
}

// images returns the number of image tokens in the messages' rendered text: one for each image, and one
// for each video.
func images(messages []Message) int {
	n := 0
	for _, m := range messages {
		n += m.placeholders()
	}
	return n
}

// placeholders is the number of image tokens of a message's rendered text.
func (m Message) placeholders() int {
	if len(m.Video) > 0 {
		return m.Images + 1
	}
	return m.Images
}

// placeImages prepends an image token for each image and video, and the tokens of clips, to the
// messages' contents, unless they are within.
func placeImages(messages []Message) []Message {
	out := slices.Clone(messages)
	for i := range out {
		before := out[i].placeholders()
		if out[i].ImagesInText {
			before -= out[i].Images
		}
		out[i].Content = strings.Repeat(ImageToken, before) + out[i].clipsBefore() + out[i].Content
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

// shown is what an image token of a rendered text stands for: an image, or the frames of a video.
type shown struct {
	grid  Grid
	video []Frame
}

// shown returns what the image tokens of the messages stand for, in their order.
func (e *Encoder) shown(messages []Message) []shown {
	var out []shown
	for _, m := range messages {
		video := len(m.Video) > 0
		if video && m.ImagesInText { // it is before the content
			out = append(out, shown{video: m.Video})
		}
		for i := range m.Images {
			grid := SquareGrid(e.imageTokens)
			if m.Grids != nil {
				grid = m.Grids[i]
			}
			out = append(out, shown{grid: grid})
		}
		if video && !m.ImagesInText {
			out = append(out, shown{video: m.Video})
		}
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
// and the tokens that open and close an image around them. Frames have their time before them.
func (e *Encoder) expandImages(t Tokens, messages []Message) (Tokens, error) {
	all := e.shown(messages)
	found := 0
	for _, id := range t.IDs {
		if id == e.imageID {
			found++
		}
	}
	if found != len(all) {
		return Tokens{}, &TemplateError{fmt.Sprintf("the rendered text has %d of %d images", found, len(all))}
	}
	if found == 0 {
		return t, nil
	}
	var out Tokens
	for i, id := range t.IDs {
		switch {
		case id != e.imageID:
			out.IDs = append(out.IDs, id)
		case all[0].video != nil:
			if err := e.appendVideo(&out, all[0].video); err != nil {
				return Tokens{}, err
			}
			all = all[1:]
		default:
			e.AppendImage(&out, all[0].grid)
			all = all[1:]
		}
		for len(out.LossMask) < len(out.IDs) {
			out.LossMask = append(out.LossMask, t.LossMask[i])
		}
	}
	return out, nil
}

// appendVideo appends the ids of frames: "00:00", a space and the frame, with spaces between them.
func (e *Encoder) appendVideo(t *Tokens, frames []Frame) error {
	for i, f := range frames {
		text := f.Clock() + " "
		if i > 0 {
			text = " " + text
		}
		ids, err := e.tokenizer.EncodePlain(text)
		if err != nil {
			return err
		}
		t.IDs = append(t.IDs, ids...)
		e.appendPatches(t, f.Grid, e.frameID)
	}
	return nil
}

// AppendImage appends the ids of an image: those that open and close it, and between them one for
// each patch. It leaves the loss mask to the caller.
func (e *Encoder) AppendImage(t *Tokens, grid Grid) { e.appendPatches(t, grid, e.imageID) }

func (e *Encoder) appendPatches(t *Tokens, grid Grid, id int32) {
	if e.imageOpen != noID {
		t.IDs = append(t.IDs, e.imageOpen)
	}
	t.Images, t.Grids = append(t.Images, len(t.IDs)), append(t.Grids, grid)
	t.IDs = append(t.IDs, slices.Repeat([]int32{id}, grid.Tokens())...)
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
