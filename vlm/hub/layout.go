package hub

// A layout divides a file into blocks. The first and the last are smaller: a parquet file's
// magic number and footer are read without the rest.
type layout struct {
	size, head, block, tail int64 // bytes
}

// middle returns where the blocks of full size start and end; they are equal if there are none.
func (l layout) middle() (start, end int64) {
	if l.size <= l.head+l.tail {
		return l.size, l.size
	}
	return l.head, l.size - l.tail
}

// index returns the block that contains an offset within the file.
func (l layout) index(offset int64) int64 {
	start, end := l.middle()
	switch {
	case offset < start:
		return 0
	case offset < end:
		return 1 + (offset-start)/l.block
	}
	return 1 + (end-start+l.block-1)/l.block
}

// bounds returns the first offset of a block and the one after its last.
func (l layout) bounds(index int64) (from, to int64) {
	start, end := l.middle()
	if index == 0 {
		return 0, start
	}
	if from = start + (index-1)*l.block; from < end {
		return from, min(from+l.block, end)
	}
	return end, l.size
}
