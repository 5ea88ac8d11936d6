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
	"patchwork/vlm/tokenizer"
)

// readEnds reads eos_token_id, a number or a list, of a folder's generation_config.json
// and, where that file is absent, of its config.json, as transformers does.
// The tokenizer has so many tokens. The ids above them, up to the configuration's
// vocab_size, stand for none and end nothing; others are refused.
func readEnds(dir string, tokens int) ([]int32, error) {
	for _, name := range []string{"generation_config.json", "config.json"} {
		file := filepath.Join(dir, name)
		text, err := smallfile.Read(file, smallfile.Config)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ends, err := parseEnds(text)
		if err == nil {
			err = checkEnds(ends, max(tokens, vocabulary(dir)))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return slices.DeleteFunc(ends, func(id int32) bool { return int(id) >= tokens }), nil
	}
	return nil, nil
}

// checkEnds refuses ids outside a vocabulary.
func checkEnds(ends []int32, vocab int) error {
	for _, id := range ends {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("eos_token_id is %d, want an id of the vocabulary, 0 to %d", id, vocab-1)
		}
	}
	return nil
}

// vocabulary is the vocab_size of a folder's config.json, 0 where that tells none.
func vocabulary(dir string) int {
	type sized struct {
		VocabSize int `json:"vocab_size"`
	}
	var c struct {
		sized
		Text sized `json:"text_config"`
	}
	text, err := smallfile.Read(filepath.Join(dir, "config.json"), smallfile.Config)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return 0 // whoever reads the configuration says what is wrong
	}
	return max(c.VocabSize, c.Text.VocabSize)
}

func parseEnds(text []byte) ([]int32, error) {
	var c struct {
		EOS  json.RawMessage `json:"eos_token_id"`
		Text struct {        // of our own config.json, whose decoder stands in it
			EOS json.RawMessage `json:"eos_token_id"`
		} `json:"text_config"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	raw := c.EOS
	if isNull(raw) {
		raw = c.Text.EOS
	}
	if isNull(raw) {
		return nil, nil
	}
	var one int32
	if json.Unmarshal(raw, &one) == nil {
		return []int32{one}, nil
	}
	var list []int32
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("eos_token_id is %.40s, want an id or a list of ids", vlm.Compact(raw))
	}
	return list, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// endNames are the tokens that llama.cpp takes for ends of generation whatever the
// metadata say (src/llama-vocab.cpp, special_eog_ids).
var endNames = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>",
	"<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
}

// ggufEnds are the tokens that end an answer by the metadata or by their usual names.
func ggufEnds(f *gguf.File, tok *tokenizer.Tokenizer) []int32 {
	var ends []int32
	for _, key := range []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id, ok := f.Metadata.Int(key); ok && id >= 0 && id < tok.Len() {
			ends = append(ends, int32(id))
		}
	}
	has := func(name string) bool { _, ok := tok.ID(name); return ok }
	// In these vocabularies <|end|> ends a message and not the turn, and </s> is a word.
	messages := has("<|end|>") && (has("<|return|>") && (has("<|call|>") || has("<|calls|>")) || has("<|flush|>") && (has("<|call|>") || has("<|calls|>")))
	word := has("<|tool_response>")
	for _, name := range endNames {
		if id, ok := tok.ID(name); ok && !(name == "<|end|>" && messages) && !(name == "</s>" && word) {
			ends = append(ends, id)
		}
	}
	return ends
}
