package image

import (
	"fmt"
	"math"
)

// A Fit is how an image becomes the pixels that a model takes: a square, or with MaxPatches whole
// patches in the image's own aspect ratio.
type Fit struct {
	// Size is the side of the square: the shorter side is resized to it, the centre is cropped.
	Size int

	Patch      int // side of a patch, in pixels
	MaxPatches int // above 0: the aspect ratio is kept, with at most so many patches
	MaxSide    int // at most so many patches along a side; 0 = MaxPatches
	// Fill makes small images larger too, up to MaxPatches, and resizes with PyTorch's bicubic filter,
	// bit for bit as Gemma 4's processor. Otherwise small images keep their size, and the filter is
	// Pillow's bilinear one.
	Fill bool
}

// Keeps reports whether the aspect ratio is kept.
func (f Fit) Keeps() bool { return f.MaxPatches > 0 }

// maxLength limits the sides of an image whose aspect ratio is kept, and so the weights of its resize:
// four for each pixel along a side.
const maxLength = 1 << 20

// ShapeError reports an image that cannot be divided into patches.
type ShapeError struct{ W, H, MaxPatches int }

func (e *ShapeError) Error() string {
	if max(e.W, e.H) > maxLength {
		return fmt.Sprintf("an image of %d×%d pixels has more than %d along a side", e.W, e.H, maxLength)
	}
	return fmt.Sprintf("an image of %d×%d pixels has no whole patch within %d image tokens; use more", e.W, e.H, e.MaxPatches)
}

// Grid returns the number of patches down and across of an image of w times h pixels. The error is a
// *ShapeError.
func (f Fit) Grid(w, h int) (rows, cols int, err error) {
	switch {
	case w < 1 || h < 1:
		return 0, 0, &ShapeError{w, h, f.MaxPatches}
	case !f.Keeps():
		return f.Size / f.Patch, f.Size / f.Patch, nil
	case max(w, h) > maxLength:
		return 0, 0, &ShapeError{w, h, f.MaxPatches}
	case f.Fill:
		return f.fillGrid(w, h)
	}
	return f.keepGrid(w, h)
}

// fillGrid is Gemma 4's rule: the largest sides within the budget, in float64, and for a ribbon one
// patch by as many as its sides' ratio (transformers, image_processing_gemma4_unified.py).
func (f Fit) fillGrid(w, h int) (rows, cols int, err error) {
	factor := math.Sqrt(float64(f.MaxPatches*f.Patch*f.Patch) / (float64(w) * float64(h)))
	cols, rows = int(float64(factor*float64(w))/float64(f.Patch)), int(float64(factor*float64(h))/float64(f.Patch))
	switch {
	case rows == 0 && cols == 0:
		return 0, 0, &ShapeError{w, h, f.MaxPatches}
	case rows == 0:
		return 1, min(w/h, f.MaxPatches), nil
	case cols == 0:
		return min(h/w, f.MaxPatches), 1, nil
	}
	return rows, cols, nil
}

// keepGrid shrinks an image that has too many patches, and rounds its sides down to whole ones.
func (f Fit) keepGrid(w, h int) (rows, cols int, err error) {
	factor := min(1, math.Sqrt(float64(f.MaxPatches*f.Patch*f.Patch)/(float64(w)*float64(h))))
	side := f.MaxPatches
	if f.MaxSide > 0 {
		side = min(side, f.MaxSide)
	}
	along := func(pixels int) int { return min(max(1, int(factor*float64(pixels)/float64(f.Patch))), side) }
	rows, cols = along(h), along(w)
	if rows*cols > f.MaxPatches { // one side was rounded up to a patch
		rows, cols = min(rows, max(1, f.MaxPatches/cols)), min(cols, max(1, f.MaxPatches/rows))
	}
	return rows, cols, nil
}

// Region is the part of an upright image of w times h pixels that Apply keeps, in fractions of its sides:
// all of it where the aspect ratio is kept, else the centre.
func (f Fit) Region(w, h int) (left, top, width, height float64) {
	if f.Keeps() {
		return 0, 0, 1, 1
	}
	wide, high := resizedSize(w, h, f.Size)
	across, down := float64(wide), float64(high)
	return float64(cropOffset(wide, f.Size)) / across, float64(cropOffset(high, f.Size)) / down, float64(f.Size) / across, float64(f.Size) / down
}

// Apply returns the pixels of an image: [Size, Size, 3], or where the aspect ratio is kept
// [rows·cols, Patch, Patch, 3], patch after patch. The error is a *ShapeError.
func (f Fit) Apply(img *RGB) ([]byte, error) {
	return f.apply(img.W, img.H, func(_ []byte, y int) []byte {
		return img.Pix[y*img.W*3 : min(len(img.Pix), (y+1)*img.W*3+spare)]
	})
}

// apply is Apply of an image whose lines are as in preprocess.
func (f Fit) apply(w, h int, line func(buffer []byte, y int) []byte) ([]byte, error) {
	if !f.Keeps() {
		if f.Size < 1 || w < 1 || h < 1 {
			return nil, &ShapeError{w, h, f.MaxPatches}
		}
		return preprocess(w, h, f.Size, line), nil
	}
	rows, cols, err := f.Grid(w, h)
	if err != nil {
		return nil, err
	}
	return Patches(f.resize(w, h, cols*f.Patch, rows*f.Patch, line), rows, cols, f.Patch), nil
}

func (f Fit) resize(w, h, width, height int, line func(buffer []byte, y int) []byte) []byte {
	k := triangle
	if f.Fill {
		k = cubic
	}
	return resample(w, h, k.filter(w, width, 0, width), k.filter(h, height, 0, height), line)
}

// Patches reorders pixels [rows·patch, cols·patch, 3] to patches [rows·cols, patch, patch, 3].
func Patches(pix []byte, rows, cols, patch int) []byte {
	out, line := make([]byte, 0, len(pix)), 3*patch
	for row := range rows {
		for col := range cols {
			for y := range patch {
				at := ((row*patch+y)*cols + col) * line
				out = append(out, pix[at:at+line]...)
			}
		}
	}
	return out
}

// Unpatch is the inverse of Patches.
func Unpatch(patches []byte, rows, cols, patch int) []byte {
	out, line := make([]byte, len(patches)), 3*patch
	for row := range rows {
		for col := range cols {
			for y := range patch {
				from := ((row*cols+col)*patch + y) * line
				copy(out[((row*patch+y)*cols+col)*line:][:line], patches[from:])
			}
		}
	}
	return out
}

// PrepareFit is Apply of Decode, without the image at its full size in RGB. It returns the upright
// size as well. Errors are those of Decode and of Apply.
func PrepareFit(data []byte, f Fit) (pix []byte, w, h int, err error) {
	failed := error(nil)
	err = withSource(data, func(s source, hd header) {
		if hd.orientation != 1 {
			img := render(s, hd)
			w, h = img.W, img.H
			pix, failed = f.Apply(img)
			return
		}
		w, h = hd.w, hd.h
		pix, failed = f.apply(w, h, func(buffer []byte, y int) []byte {
			s.line(buffer[:3*w], y)
			return buffer
		})
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, 0, 0, err
	}
	return pix, w, h, nil
}
