package data

import "patchwork/vlm/picture"

// Prepare judges a row and returns its pictures as pixels [size,size,3]; they
// are not nil, though there may be none.
func Prepare(row Row, size int) ([][]byte, Verdict) {
	pictures := [][]byte{}
	verdict := CheckEach(row, func(p *picture.RGB) { pictures = append(pictures, picture.Preprocess(p, size)) })
	return pictures, verdict
}
