package pretrained

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
)

func TestReadEOS(t *testing.T) {
	for _, c := range []struct {
		text   string
		tokens int
		want   []int32
		err    string
	}{
		{`{"eos_token_id": 2}`, 151700, []int32{2}, ""},
		{`{"eos_token_id": [151645, 151643]}`, 151700, []int32{151645, 151643}, ""},
		{`{"eos_token_id": []}`, 151700, nil, ""},
		{`{"eos_token_id": null}`, 151700, nil, ""},
		{`{"temperature": 0.6}`, 151700, nil, ""},
		{`{"eos_token_id": "</s>"}`, 151700, nil, "eos_token_id"},
		{`{"eos_token_id": [1, "x"]}`, 151700, nil, "eos_token_id"},
		{`{"eos_token_id": 1e99}`, 151700, nil, "eos_token_id"},
		{`{"eos_token_id": -1}`, 300, nil, "eos_token_id is -1, want an id of the vocabulary, 0 to 319"},
		{`{"eos_token_id": [2, 320]}`, 300, nil, "eos_token_id is 320"},
		{`{"eos_token_id": [2, 319]}`, 300, []int32{2}, ""}, // padding of the embedding
		{`{"eos_token_id": 321}`, 322, []int32{321}, ""},
		{`{"eos_token_id": [
			"x",
			1]}`, 300, nil, `["x",1]`},
		{`{`, 151700, nil, "generation_config.json"},
		{``, 151700, nil, "generation_config.json"},
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(c.text), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"text_config": {"vocab_size": 320}}`), 0o644))
		got, err := readEOS(dir, c.tokens)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v, an error with %q", c.text, got, err, c.want, c.err)
		}
	}
	if got, err := readEOS(t.TempDir(), 1); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}
