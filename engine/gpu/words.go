package gpu

// Word is the unit of WebGPU's copies, in bytes.
const Word = 4

// WholeWords extends data, at a byte offset of a memory, to whole words. The words that data covers in
// part are read.
func WholeWords(offset int64, data []byte, read func(offset int64, word []byte) error) (int64, []byte, error) {
	first, end := offset/Word*Word, (offset+int64(len(data))+Word-1)/Word*Word
	if first == offset && end == offset+int64(len(data)) {
		return offset, data, nil
	}
	whole := make([]byte, end-first)
	if err := read(first, whole[:Word]); err != nil {
		return 0, nil, err
	}
	if err := read(end-Word, whole[len(whole)-Word:]); err != nil {
		return 0, nil, err
	}
	copy(whole[offset-first:], data)
	return first, whole, nil
}
