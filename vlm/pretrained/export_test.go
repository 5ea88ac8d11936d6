package pretrained

import "patchwork/vlm/tokenizer"

// Internals for the tests of package pretrained_test, which import packages that import this one.
var (
	LoadDecoder = loadDecoder
	ReadEnds    = readEnds
	WriteExport = writeExport
)

// ExportTemp is where an export is written first.
const ExportTemp = exportTemp

// GGUFTokenizer reads the tokenizer of a GGUF file.
func GGUFTokenizer(p *Decoder) (*tokenizer.Tokenizer, error) {
	return ggufTokenizer(p.weights.(*ggufSource).File)
}
