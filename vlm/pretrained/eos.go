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

// readEOS reads eos_token_id, an id or a list, from a folder's generation_config.json, or from its
// config.json if that file does not exist, as transformers does. tokens is the size of the
// tokenizer. Ids between it and vocab_size are padding of the embedding and are dropped; ids
// beyond are an error.
func readEOS(dir string, tokens int) ([]int32, error) {
	for _, name := range []string{"generation_config.json", "config.json"} {
		file := filepath.Join(dir, name)
		text, err := smallfile.Read(file, smallfile.Config)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return idsIn(file, text, tokens, parseEOS)
	}
	return nil, nil
}

// idsIn parses the ids in a file of a folder. tokens is the size of the tokenizer: ids that are padding
// of the embedding after it are dropped.
func idsIn(file string, text []byte, tokens int, parse func(text []byte, vocab int) ([]int32, error)) ([]int32, error) {
	ids, err := parse(text, max(tokens, vocabSize(filepath.Dir(file))))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return slices.DeleteFunc(ids, func(id int32) bool { return int(id) >= tokens }), nil
}

// checkIDs returns an error that begins with what, such as "eos_token_id is", if an id is outside the
// vocabulary.
func checkIDs(what string, ids []int32, vocab int) error {
	for _, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("%s %d, want an id of the vocabulary, 0 to %d", what, id, vocab-1)
		}
	}
	return nil
}

// vocabSize returns the vocab_size in a folder's config.json, or 0.
func vocabSize(dir string) int {
	type sized struct {
		VocabSize int `json:"vocab_size"`
	}
	var c struct {
		sized
		Text sized `json:"text_config"`
	}
	text, err := smallfile.Read(filepath.Join(dir, "config.json"), smallfile.Config)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return 0 // reading the model reports the error
	}
	return max(c.VocabSize, c.Text.VocabSize)
}

// parseEOS reads eos_token_id in a generation_config.json or config.json.
func parseEOS(text []byte, vocab int) ([]int32, error) {
	var c struct {
		EOS  json.RawMessage `json:"eos_token_id"`
		Text struct {        // the decoder in config.json of a model folder
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
		return []int32{one}, checkIDs("eos_token_id is", []int32{one}, vocab)
	}
	var list []int32
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("eos_token_id is %.40s, want an id or a list of ids", vlm.Compact(raw))
	}
	return list, checkIDs("eos_token_id is", list, vocab)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// eosNames are tokens that llama.cpp treats as end of generation regardless of the metadata
// (src/llama-vocab.cpp, special_eog_ids).
var eosNames = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>",
	"<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
}

// ggufEOS returns the tokens that end an answer, from the metadata and by name.
func ggufEOS(f *gguf.File, tok *tokenizer.Tokenizer) []int32 {
	var ids []int32
	for _, key := range []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id, ok := f.Metadata.Int(key); ok && id >= 0 && id < tok.Len() {
			ids = append(ids, int32(id))
		}
	}
	has := func(name string) bool { _, ok := tok.ID(name); return ok }
	// In these vocabularies <|end|> ends a message but not the turn, or </s> is ordinary text: in
	// Gemma's it is a tag of HTML.
	messages := has("<|end|>") && (has("<|return|>") && (has("<|call|>") || has("<|calls|>")) || has("<|flush|>") && (has("<|call|>") || has("<|calls|>")))
	word := has("<|tool_response>")
	for _, name := range eosNames {
		id, ok := tok.ID(name)
		if ok && !(name == "<|end|>" && messages) && !(name == "</s>" && (word || !tok.IsSpecial(id))) {
			ids = append(ids, id)
		}
	}
	return ids
}
