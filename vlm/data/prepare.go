package data

import (
	"patchwork/vlm/audio"
	"patchwork/vlm/image"
)

// Media is what a model takes besides text.
type Media struct {
	Images     image.Fit // the zero value = no images
	SampleRate int       // of sound, samples a second; 0 = no sound
}

// Prepared are the files of a row as a model takes them.
type Prepared struct {
	Images [][]byte    // pixels, each [size, size, 3] or [patches, P, P, 3]
	Sizes  []Size      // of the images, upright, as in their files
	Clips  [][]float32 // samples
}

// Prepare checks a row and returns its images and clips. If one is broken, the row is skipped
// although the result holds those before it.
func Prepare(row Row, m Media) (Prepared, Verdict) {
	var p Prepared
	if reason := m.Refuses(row); reason != "" {
		return p, row.skip("%s", reason)
	}
	verdict := check(row, func(data []byte) (Size, error) {
		pix, w, h, err := image.PrepareFit(data, m.Images)
		if err == nil {
			p.Images, p.Sizes = append(p.Images, pix), append(p.Sizes, Size{w, h})
		}
		return Size{w, h}, err
	}, func(data []byte) (float64, error) {
		samples, info, err := decodeClip(data, m.SampleRate)
		p.Clips = append(p.Clips, samples)
		return info.Seconds, err
	})
	return p, verdict
}

// Refuses returns why a model cannot take a row's files, or "".
func (m Media) Refuses(row Row) string {
	switch {
	case len(row.Images) > 0 && m.Images == (image.Fit{}):
		return "it has images, which the model does not take"
	case len(row.Clips) > 0 && m.SampleRate == 0:
		return "it has sound, which the model does not take"
	}
	return ""
}

// Sizes returns the upright sizes of a row's images, from their headers. A bad image is a Verdict with
// the status Skip.
func (r Row) Sizes() ([]Size, Verdict) {
	var sizes []Size
	for i, data := range r.Images {
		w, h, _, err := image.DecodeConfig(data)
		if err != nil {
			return nil, r.badImage(i, data, err)
		}
		sizes = append(sizes, Size{w, h})
	}
	return sizes, Verdict{File: r.File, Row: r.Index, Status: Use}
}

// Samples decodes the clips of a row at a rate and returns their numbers of samples. A bad clip is
// a Verdict with the status Skip.
func (r Row) Samples(rate int) ([]int, Verdict) {
	var lengths []int
	for i, data := range r.Clips {
		samples, _, err := decodeClip(data, rate)
		if err != nil {
			return nil, r.badClip(i, err)
		}
		lengths = append(lengths, len(samples))
	}
	return lengths, Verdict{File: r.File, Row: r.Index, Status: Use}
}

// decodeClip is audio.Decode; a clip without bytes is an error too: paths are never followed.
func decodeClip(data []byte, rate int) ([]float32, audio.Info, error) {
	if data == nil {
		return nil, audio.Info{}, errNoBytes
	}
	return audio.Decode(data, rate)
}
