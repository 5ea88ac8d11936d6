package data

import "patchwork/vlm/image"

// Prepare checks a row and returns its images as pixels, each [size, size, 3]. The slice
// is never nil, but may be empty.
func Prepare(row Row, size int) ([][]byte, Verdict) {
	images := [][]byte{}
	verdict := CheckEach(row, func(p *image.RGB) { images = append(images, image.Preprocess(p, size)) })
	return images, verdict
}
