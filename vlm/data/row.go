package data

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"patchwork/vlm/image"
)

// A Row is one sample: some pictures and a conversation about them.
type Row struct {
	File   string
	Index  int      // in File, from 0
	Images [][]byte // each a whole image file; nil where the row has none in its place
	Turns  []Turn
	Source string

	textError string // why its texts are none; "" where they are
}

// A Turn is a question and its answer, as valid UTF-8: an invalid piece is
// replaced by U+FFFD, and the row is not used. What looks like a control token is literal text. A null is
// an empty string.
type Turn struct{ User, Assistant string }

// Answered returns the turns that can be used: those whose answer is not blank.
func (r Row) Answered() []Turn {
	var turns []Turn
	for _, t := range r.Turns {
		if strings.TrimSpace(t.Assistant) != "" {
			turns = append(turns, t)
		}
	}
	return turns
}

// bytes is roughly the memory that the row takes.
func (r *Row) bytes() int {
	n := 100 + len(r.Source)
	for _, image := range r.Images {
		n += 24 + len(image)
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

// A Verdict says whether a row can be used. In JSON it is a line of
// vlmtool inspect --rows.
type Verdict struct {
	File   string `json:"file"`
	Row    int    `json:"row"`
	Status string `json:"status"` // Use or Skip
	Reason string `json:"reason"` // why it is skipped
	Images []Size `json:"images"` // upright; none where the row is skipped
	Turns  int    `json:"turns"`  // how many can be used
}

// ShortReason is a reason without the details behind a colon, which differ from row to
// row: reasons are counted by it.
func ShortReason(reason string) string {
	short, _, _ := strings.Cut(reason, ":")
	return short
}

// Size is a picture's in pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Check judges a row by decoding its pictures.
func Check(r Row) Verdict { return CheckEach(r, func(*image.RGB) {}) }

// maxRowPixels is the most that the pictures of a row may have together: they are
// decoded one after another, and a row of thousands of large ones would take hours.
const maxRowPixels = 4 * image.MaxPixels

// Damaged is the verdict on a row that Dataset.Row could not read because of what
// is in the file; ok is false for other errors, which say nothing of the row.
func Damaged(err error) (v Verdict, ok bool) {
	var e *DataError
	if !errors.As(err, &e) || e.Err != nil || e.Row < 0 {
		return Verdict{}, false
	}
	return Row{File: e.File, Index: e.Row}.skip("%s", e.Reason), true
}

// CheckTexts judges a row by its texts alone; its verdict has no sizes of pictures.
func CheckTexts(r Row) Verdict {
	turns := len(r.Answered())
	switch tag := r.missingImage(); {
	case r.textError != "":
		return r.skip("%s", r.textError)
	case turns == 0:
		return r.skip("no turn has an answer")
	case tag != "":
		return r.skip("a question holds %s, and the row no picture", tag)
	}
	return Verdict{File: r.File, Row: r.Index, Status: Use, Images: []Size{}, Turns: turns}
}

// lostPicture is what stands for a picture in a row that has none.
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

// placeholder is what other tools' data hold in the place of a picture.
var placeholder = regexp.MustCompile(`<image>|<\|image(_pad)?\|>|<image_placeholder>|<\|vision_start\|>|<start_of_image>|\[IMG\]|<img>[^<]*</img>`)

// CheckEach is Check and hands each picture over as soon as it is decoded, so
// that no second decoding is needed and full-size pictures need not pile up.
// Where a later picture turns out to be broken, the row is skipped though
// earlier ones were handed over.
func CheckEach(r Row, each func(*image.RGB)) Verdict {
	v := CheckTexts(r)
	if v.Status == Skip {
		return v
	}
	if r.pixels() > maxRowPixels {
		return r.skip("its images have more than %d million pixels together", maxRowPixels/1_000_000)
	}
	for i, data := range r.Images {
		if data == nil { // a path alone is never followed
			return r.skip("image %d has no bytes", i+1)
		}
		err := image.With(data, func(p *image.RGB) {
			each(p)
			v.Images = append(v.Images, Size{p.W, p.H})
		})
		if err != nil {
			return r.skip("image %d cannot be decoded: %v", i+1, err)
		}
	}
	return v
}

// pixels is how many the headers of the images promise; what is refused has none.
func (r Row) pixels() (n int) {
	if len(r.Images) < 2 {
		return 0 // no more than one picture may have
	}
	for _, data := range r.Images {
		if w, h, _, err := image.DecodeConfig(data); err == nil {
			n += w * h
		}
	}
	return n
}

func (r Row) skip(format string, args ...any) Verdict {
	return Verdict{File: r.File, Row: r.Index, Status: Skip, Reason: fmt.Sprintf(format, args...), Images: []Size{}}
}
