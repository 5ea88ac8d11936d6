package gguf

// Block is the number of elements and of bytes of a block.
func (t Type) Block() (elements, bytes int) { return layouts[t].elements, layouts[t].bytes }
