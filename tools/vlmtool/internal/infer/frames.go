package infer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"

	"patchwork/internal/smallfile"
	"patchwork/vlm"
	"patchwork/vlm/chat"
)

// maxFrames limits the frames of a video: of 70 tokens each, as many fill the contexts of most models.
const maxFrames = 4096

// frame is a line of --frames: a still of a video, and its time in seconds.
type frame struct {
	Image string   `json:"image"`
	Time  *float64 `json:"time"`
}

// readFrames reads a list of frames: lines of {"image": FILE, "time": SECONDS}, in the order of time.
// Names of images are relative to the list's folder.
func readFrames(name string) ([]frame, error) {
	text, err := smallfile.Read(name, smallfile.Config)
	if err != nil {
		return nil, err
	}
	var frames []frame
	for i, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		f, err := parseFrame(line)
		if err == nil && len(frames) > 0 && *f.Time < *frames[len(frames)-1].Time {
			err = fmt.Errorf("its time %g is before the previous frame's", *f.Time)
		}
		if err == nil && len(frames) == maxFrames {
			err = fmt.Errorf("there are more than %d frames; leave some out", maxFrames)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, i+1, err)
		}
		if !filepath.IsAbs(f.Image) {
			f.Image = filepath.Join(filepath.Dir(name), f.Image)
		}
		frames = append(frames, f)
	}
	if len(frames) == 0 {
		return nil, fmt.Errorf("%s has no frames", name)
	}
	return frames, nil
}

func parseFrame(line []byte) (frame, error) {
	var f frame
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	switch {
	case err != nil || d.More():
		return f, fmt.Errorf(`%.60q is not {"image": "FILE", "time": SECONDS}`, line)
	case f.Image == "":
		return f, fmt.Errorf("it names no image")
	case f.Time == nil || *f.Time < 0 || *f.Time > math.MaxInt32:
		return f, fmt.Errorf("it has no time in seconds, 0 or more")
	}
	return f, nil
}

// prepareFrames decodes the frames' images.
func prepareFrames(c vlm.Config, frames []frame) (pixels [][]byte, video []chat.Frame, err error) {
	for _, f := range frames {
		data, err := smallfile.Read(f.Image, smallfile.Image)
		if err != nil {
			return nil, nil, err
		}
		one, grid, err := preprocess(c, f.Image, data)
		if err != nil {
			return nil, nil, err
		}
		pixels, video = append(pixels, one), append(video, chat.Frame{Time: *f.Time, Grid: grid})
	}
	return pixels, video, nil
}
