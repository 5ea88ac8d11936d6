package train

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// TestResumeOfFormerModes: a run whose files name its modes as earlier versions did is
// resumed with the current names, and writes those.
func TestResumeOfFormerModes(t *testing.T) {
	files := []string{vlmtest.Data(t, 20)}
	former := strings.NewReplacer(`"causal"`, `"seed"`, `"shared_prefix"`, `"branches"`)
	for _, modes := range []struct {
		attention packing.Attention
		turns     packing.Turns
	}{{packing.Seed, packing.InConversation}, {packing.Document, packing.InBranches}} {
		r, out := testRecipe(t, 2), filepath.Join(t.TempDir(), "run")
		r.Attention, r.Turns = modes.attention, modes.turns
		_, err := trainOn(t, cpu.Open(0), r, files, out, false, Observer{})
		require.NoError(t, err)
		replaced := 0
		require.NoError(t, filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "run.json" && d.Name() != "config.json" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			old := former.Replace(string(text))
			if old == string(text) {
				return nil
			}
			replaced++
			require.NoError(t, os.WriteFile(path, []byte(old), 0o644))
			sums, err := os.ReadFile(filepath.Join(filepath.Dir(path), "SHA256SUMS"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			require.NoError(t, err)
			sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
			return os.WriteFile(filepath.Join(filepath.Dir(path), "SHA256SUMS"), []byte(strings.Replace(string(sums), sum(string(text)), sum(old), 1)), 0o644)
		}))
		if replaced < 2 {
			t.Fatalf("%v: former names in %d files, want them in run.json and config.json", modes, replaced)
		}
		r.Steps = 3
		result, err := trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
		if err != nil || result.Steps != 3 {
			t.Fatalf("%v: %d steps, %v", modes, result.Steps, err)
		}
		for _, name := range []string{"run.json", "config.json"} {
			text, err := os.ReadFile(filepath.Join(out, name))
			require.NoError(t, err)
			if former.Replace(string(text)) == string(text) {
				t.Errorf("%v: %s has the former names", modes, name)
			}
		}
	}
}
