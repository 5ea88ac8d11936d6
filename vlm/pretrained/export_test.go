package pretrained

import "patchwork/vlm/tokenizer"

// Internals for the tests of package pretrained_test, which import packages that import this one.
var (
	LoadDecoder = loadDecoder
	ReadEOS     = readEOS
	WriteExport = writeExport
)

// ExportTemp is the temporary folder of an export.
const ExportTemp = exportTemp

// GGUFTokenizer reads the tokenizer of a GGUF file.
func GGUFTokenizer(p *Decoder) (*tokenizer.Tokenizer, error) {
	return ggufTokenizer(p.weights.(*ggufSource).File)
}
