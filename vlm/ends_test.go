package vlm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadEnds(t *testing.T) {
	for _, c := range []struct {
		text string
		want []int32
		err  string
	}{
		{`{"eos_token_id": 2}`, []int32{2}, ""},
		{`{"eos_token_id": [151645, 151643]}`, []int32{151645, 151643}, ""},
		{`{"eos_token_id": []}`, nil, ""},
		{`{"eos_token_id": null}`, nil, ""},
		{`{"temperature": 0.6}`, nil, ""},
		{`{"eos_token_id": "</s>"}`, nil, "eos_token_id"},
		{`{"eos_token_id": [1, "x"]}`, nil, "eos_token_id"},
		{`{"eos_token_id": 1e99}`, nil, "eos_token_id"},
		{`{`, nil, "generation_config.json"},
		{``, nil, "generation_config.json"},
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(c.text), 0o644))
		got, err := readEnds(dir)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v, an error with %q", c.text, got, err, c.want, c.err)
		}
	}
	if got, err := readEnds(t.TempDir()); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}
