package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"patchwork/internal/smallfile"
	"patchwork/nn/gguf"
	"patchwork/vlm"
)

// keySuppressed is llama.cpp's key of the tokens that are never generated.
const keySuppressed = "tokenizer.ggml.suppress_tokens"

// readSuppressed reads suppress_tokens, the ids that are never generated, from a folder's
// generation_config.json. tokens is the size of the tokenizer; padding of the embedding after it is
// dropped.
func readSuppressed(dir string, tokens int) ([]int32, error) {
	file := filepath.Join(dir, "generation_config.json")
	text, err := smallfile.Read(file, smallfile.Config)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return idsIn(file, text, tokens, parseSuppressed)
}

// parseSuppressed reads suppress_tokens in a generation_config.json.
func parseSuppressed(text []byte, vocab int) ([]int32, error) {
	var c struct {
		Suppress json.RawMessage `json:"suppress_tokens"`
	}
	if err := json.Unmarshal(text, &c); err != nil || isNull(c.Suppress) {
		return nil, err
	}
	var ids []int32
	if err := json.Unmarshal(c.Suppress, &ids); err != nil {
		return nil, fmt.Errorf("suppress_tokens is %.40s, want a list of ids", vlm.Compact(c.Suppress))
	}
	return ids, checkIDs("suppress_tokens has", ids, vocab)
}

// ggufSuppressed reads the tokens that are never generated from the metadata.
func ggufSuppressed(m gguf.Metadata, tokens int) ([]int32, error) {
	ids, ok := m.Ints(keySuppressed)
	if !ok && m.Has(keySuppressed) {
		return nil, fmt.Errorf("metadata key %q is %s, want a list of ids", keySuppressed, formatValue(m.Value(keySuppressed)))
	}
	return slices.Clone(ids), checkIDs(keySuppressed+" has", ids, tokens)
}
