package data

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"patchwork/vlm/image"
)

// A Row is one sample: images or sound, and a conversation about them.
type Row struct {
	File   string
	Index  int      // in File, from 0
	Images [][]byte // encoded image files; nil for a null entry
	Clips  [][]byte // encoded sound files; nil for a null entry
	Turns  []Turn
	Source string

	textError string // why its texts are unusable; "" if they are fine
}

// A Turn is a question and its answer in valid UTF-8. Invalid bytes become U+FFFD and make
// the row unusable. Names of control tokens are literal text. A null is an empty string.
type Turn struct{ User, Assistant string }

// Answered returns the usable turns: those whose answer is not blank.
func (r Row) Answered() []Turn {
	var turns []Turn
	for _, t := range r.Turns {
		if strings.TrimSpace(t.Assistant) != "" {
			turns = append(turns, t)
		}
	}
	return turns
}

// Bytes estimates the row's memory.
func (r *Row) Bytes() int {
	n := 100 + len(r.Source)
	for _, file := range slices.Concat(r.Images, r.Clips) {
		n += 24 + len(file)
	}
	for _, t := range r.Turns {
		n += 32 + len(t.User) + len(t.Assistant)
	}
	return n
}

// The values of Verdict.Status.
const (
	Use  = "use"
	Skip = "skip"
)

// A Verdict reports whether a row can be used. In JSON it is a line of vlmtool inspect
// --rows.
type Verdict struct {
	File   string `json:"file"`
	Row    int    `json:"row"`
	Status string `json:"status"` // Use or Skip
	Reason string `json:"reason"` // why it is skipped
	Images []Size `json:"images"` // upright sizes; empty if the row is skipped
	// Clips are the lengths of the row's sound, in seconds; empty if the row is skipped.
	Clips []float64 `json:"audios,omitempty"`
	Turns int       `json:"turns"` // usable turns
}

// ShortReason returns a reason up to its first colon, without the details that differ
// from row to row. Bad rows are counted by it.
func ShortReason(reason string) string {
	short, _, _ := strings.Cut(reason, ":")
	return short
}

// Size is the size of an image in pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Check checks a row, decoding its images and its sound.
func Check(r Row) Verdict {
	return check(r, func(data []byte) (size Size, err error) {
		err = image.With(data, func(p *image.RGB) { size = Size{p.W, p.H} })
		return size, err
	}, func(data []byte) (float64, error) {
		_, info, err := decodeClip(data, checkRate)
		return info.Seconds, err
	})
}

// checkRate is the rate at which Check decodes sound: that of the models.
const checkRate = 16_000

// maxRowClips limits the clips of a row, each of which may take a minute to decode.
const maxRowClips = 64

var errNoBytes = errors.New("it has no bytes")

// maxRowPixels limits the pixels of all images of a row: a row of thousands of large
// images would take hours to decode.
const maxRowPixels = 4 * image.MaxPixels

// Damaged returns the verdict on a row that Dataset.Row could not read because the file
// is damaged. ok is false for other errors, such as the operating system's.
func Damaged(err error) (v Verdict, ok bool) {
	var e *DataError
	if !errors.As(err, &e) || e.Err != nil || e.Row < 0 {
		return Verdict{}, false
	}
	return Row{File: e.File, Index: e.Row}.skip("%s", e.Reason), true
}

// CheckTexts checks only the texts of a row; the verdict has no image sizes.
func CheckTexts(r Row) Verdict {
	turns := len(r.Answered())
	switch tag := r.missingImage(); {
	case r.textError != "":
		return r.skip("%s", r.textError)
	case turns == 0:
		return r.skip("no turn has an answer")
	case tag != "":
		return r.skip("a question has the placeholder %s, but the row has no image", tag)
	case len(r.Clips) == 0 && r.NamesSound():
		return r.skip("a question has the placeholder %s, but the row has no sound", soundPlaceholder)
	}
	return Verdict{File: r.File, Row: r.Index, Status: Use, Images: []Size{}, Turns: turns}
}

// missingImage returns the first image placeholder in a row without images, or "".
func (r Row) missingImage() string {
	if len(r.Images) > 0 {
		return ""
	}
	for _, t := range r.Answered() {
		if tag := placeholder.FindString(t.User); tag != "" {
			return tag
		}
	}
	return ""
}

// soundPlaceholder is what a question has for a clip.
const soundPlaceholder = "<|audio|>"

// NamesSound reports whether a question has a place for a clip of sound.
func (r Row) NamesSound() bool {
	return slices.ContainsFunc(r.Answered(), func(t Turn) bool { return strings.Contains(t.User, soundPlaceholder) })
}

// placeholder matches what other tools write into a text for an image.
var placeholder = regexp.MustCompile(`<image>|<\|image(_pad)?\|>|<image_placeholder>|<\|vision_start\|>|<start_of_image>|\[IMG\]|<img>[^<]*</img>`)

// check is Check with functions that decode an image and a clip.
func check(r Row, decode func(data []byte) (Size, error), listen func(data []byte) (seconds float64, err error)) Verdict {
	v := CheckTexts(r)
	if v.Status == Skip {
		return v
	}
	if r.pixels() > maxRowPixels {
		return r.skip("its images have more than %d million pixels in total", maxRowPixels/1_000_000)
	}
	for i, data := range r.Images {
		size, err := Size{}, error(nil)
		if data != nil {
			size, err = decode(data)
		}
		if data == nil || err != nil {
			return r.badImage(i, data, err)
		}
		v.Images = append(v.Images, size)
	}
	if len(r.Clips) > maxRowClips {
		return r.skip("it has more than %d clips of sound", maxRowClips)
	}
	for i, data := range r.Clips {
		seconds, err := listen(data)
		if err != nil {
			return r.badClip(i, err)
		}
		v.Clips = append(v.Clips, math.Round(1e3*seconds)/1e3)
	}
	return v
}

func (r Row) badImage(i int, data []byte, err error) Verdict {
	if data == nil { // paths are never followed
		return r.skip("image %d has no bytes", i+1)
	}
	return r.skip("image %d cannot be decoded: %v", i+1, err)
}

func (r Row) badClip(i int, err error) Verdict {
	if err == errNoBytes { // paths are never followed
		return r.skip("clip %d has no bytes", i+1)
	}
	return r.skip("clip %d cannot be decoded: %v", i+1, err)
}

// pixels sums the pixels that the image headers declare, leaving out unreadable images.
func (r Row) pixels() (n int) {
	if len(r.Images) < 2 {
		return 0 // image.MaxPixels limits a single image
	}
	for _, data := range r.Images {
		if w, h, _, err := image.DecodeConfig(data); err == nil {
			n += w * h
		}
	}
	return n
}

// Skip returns the verdict that a row cannot be used for a reason.
func (r Row) Skip(reason string) Verdict { return r.skip("%s", reason) }

func (r Row) skip(format string, args ...any) Verdict {
	return Verdict{File: r.File, Row: r.Index, Status: Skip, Reason: fmt.Sprintf(format, args...), Images: []Size{}}
}
