package pretrained

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
)

func TestReadSuppressed(t *testing.T) {
	for _, c := range []struct {
		text string
		want []int32
		err  string
	}{
		{`{"suppress_tokens": [258882, 258883]}`, []int32{258882, 258883}, ""},
		{`{"suppress_tokens": null}`, nil, ""},
		{`{"suppress_tokens": []}`, nil, ""},
		{`{"eos_token_id": [1, 106]}`, nil, ""},
		{`{"suppress_tokens": [1, 262150]}`, []int32{1}, ""}, // padding of the embedding
		{`{"suppress_tokens": 7}`, nil, "suppress_tokens is 7, want a list of ids"},
		{`{"suppress_tokens": [-1]}`, nil, "suppress_tokens has -1, want an id of the vocabulary, 0 to 262207"},
		{`{"suppress_tokens": [262208]}`, nil, "suppress_tokens has 262208"},
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(c.text), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"text_config": {"vocab_size": 262208}}`), 0o644))
		got, err := readSuppressed(dir, 262144)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v, an error with %q", c.text, got, err, c.want, c.err)
		}
	}
	if got, err := readSuppressed(t.TempDir(), 1); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}
