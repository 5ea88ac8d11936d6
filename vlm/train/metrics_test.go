package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
)

// TestMetricsLog: what was torn or belongs to steps that are done again is dropped, and
// lines that could not be written are written later.
func TestMetricsLog(t *testing.T) {
	step := func(n int) string {
		return string(require.Value(json.Marshal(StepMetrics{Step: n, Loss: 1}))(t)) + "\n"
	}
	val := `{"step":2,"val_loss":0.5}` + "\n"
	unknown := `{"step":2,"val_loss":null}` + "\n"
	for _, c := range []struct {
		name, was, is string
		train, val    int
	}{
		{"nothing", "", "", 0, 0},
		{"whole", step(1) + step(2) + val, step(1) + step(2) + val, 2, 1},
		{"steps that are done again", step(1) + step(2) + val + step(3), step(1) + step(2) + val, 2, 1},
		{"a torn line", step(1) + step(2)[:20], step(1), 1, 0},
		{"a line without its end", step(1) + strings.TrimSpace(step(2)), step(1), 1, 0},
		{"rubbish between", step(1) + "\x00\x00\n" + step(2), step(1) + step(2), 2, 0},
		{"a validation without a number", step(1) + unknown, step(1) + unknown, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(c.was), 0o644))
			m, err := openMetrics(path, 2)
			require.NoError(t, err)
			if len(m.train) != c.train || len(m.val) != c.val {
				t.Errorf("%d steps and %d validations, want %d and %d", len(m.train), len(m.val), c.train, c.val)
			}
			good := m.file
			m.file = require.Value(os.Open(path))(t) // which takes no writing
			if m.step(StepMetrics{Step: 3, Loss: 1}) == nil || m.validation(ValMetrics{Step: 3, ValLoss: 0.25}) == nil {
				t.Error("a file that takes no writing was written")
			}
			require.NoError(t, m.file.Close())
			m.file = good
			require.NoError(t, m.step(StepMetrics{Step: 4, Loss: 1}))
			require.NoError(t, m.close())
			if got, want := string(readFile(t, path)), c.is+step(3)+`{"step":3,"val_loss":0.25}`+"\n"+step(4); got != want {
				t.Errorf("the file is\n%swant\n%s", got, want)
			}
		})
	}
}
