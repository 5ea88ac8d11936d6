package data

import "patchwork/vlm/image"

// Prepare judges a row and returns its pictures as pixels [size,size,3]; they
// are not nil, though there may be none.
func Prepare(row Row, size int) ([][]byte, Verdict) {
	pictures := [][]byte{}
	verdict := CheckEach(row, func(p *image.RGB) { pictures = append(pictures, image.Preprocess(p, size)) })
	return pictures, verdict
}
