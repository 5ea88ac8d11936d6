package data

import "patchwork/vlm/image"

// Prepare checks a row and returns its images as pixels, each [size, size, 3]. The slice
// is never nil, but may be empty; if a later image is broken, the row is skipped although it
// holds the earlier ones.
func Prepare(row Row, size int) ([][]byte, Verdict) {
	images := [][]byte{}
	verdict := check(row, func(data []byte) (Size, error) {
		pix, w, h, err := image.Prepare(data, size)
		if err == nil {
			images = append(images, pix)
		}
		return Size{w, h}, err
	})
	return images, verdict
}
