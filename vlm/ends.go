package vlm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Ends says whether a token ends an answer: the end of turn, or another that the
// model's generation_config.json names.
func (l *Language) Ends(id int32) bool {
	return l != nil && (id == l.EndOfTurn() || slices.Contains(l.ends, id))
}

// eosTokens are the ids to write to generation_config.json: one, or a list.
func (l *Language) eosTokens() any {
	end := l.EndOfTurn()
	others := slices.DeleteFunc(slices.Clone(l.ends), func(id int32) bool { return id == end })
	if len(others) == 0 {
		return end
	}
	return append([]int32{end}, others...)
}

// generationConfig is generation_config.json.
func (l *Language) generationConfig() map[string]any {
	return map[string]any{"eos_token_id": l.eosTokens(), "pad_token_id": l.EndOfTurn()}
}

// readEnds reads eos_token_id, a number or a list, of a folder's
// generation_config.json. It may be absent.
func readEnds(dir string) ([]int32, error) {
	file := filepath.Join(dir, "generation_config.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var one *int32
	var list []int32
	if len(c.EOS) == 0 || json.Unmarshal(c.EOS, &one) == nil {
		if one != nil {
			list = []int32{*one}
		}
		return list, nil
	}
	if err := json.Unmarshal(c.EOS, &list); err != nil {
		return nil, fmt.Errorf("%s: eos_token_id is %.40s, want an id or a list of ids", file, c.EOS)
	}
	return list, nil
}
