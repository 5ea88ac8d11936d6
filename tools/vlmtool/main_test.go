package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm/data"
)

type outcome struct {
	code           int
	stdout, stderr string
}

func vlmtool(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), args, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

const quirks = "../../vlm/data/testdata/quirks"

// smallRun trains a model for 3 steps and returns its folder and its data.
func smallRun(t testing.TB) (model, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "train-00000-of-00001.parquet")
	set, err := data.Open(t.Context(), data.Local(filepath.Join(quirks, "train-00000-of-00001.parquet")))
	require.NoError(t, err)
	row, err := set.Row(2) // an ordinary row
	require.NoError(t, err)
	w, err := data.Create(file)
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, w.Write(data.Row{Images: row.Images, Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}}, Source: "test"}))
	}
	require.NoError(t, w.Close())
	model = filepath.Join(dir, "run")
	got := vlmtool("train", "--data", file, "--out", model, "--device", "cpu", "--steps", "3", "--seq-len", "160", "--pool-size", "8", "--val-every", "2", "--quiet", "--json")
	if got.code != 0 || strings.Count(got.stdout, "\n") != 1 || got.stderr != "" {
		t.Fatalf("train: %+v", got)
	}
	return model, file
}

// TestBadInput: every mistake gives one clear line, the right exit code and nothing on
// stdout.
func TestBadInput(t *testing.T) {
	model, file := smallRun(t)
	dir := t.TempDir()
	write := func(name string, data string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(data), 0o644))
		return path
	}
	noImage, empty := write("x.png", "not an image"), write("empty.parquet", "")
	imageFile := filepath.Join(dir, "p.png")
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(imageFile, row.Images[0], 0o644))
	broken := func(name string, change func(dir string)) string {
		copied := filepath.Join(dir, name)
		require.NoError(t, os.CopyFS(copied, os.DirFS(model)))
		change(copied)
		return copied
	}
	truncated := broken("truncated", func(d string) {
		require.NoError(t, os.Truncate(filepath.Join(d, "model.safetensors"), 100_000))
	})
	missing := broken("missing", func(d string) { rewrite(t, d, "connector.bias", nil) })
	misshapen := broken("misshapen", func(d string) { rewrite(t, d, "connector.bias", []int{48, 2}) })
	noConfig := broken("no-config", func(d string) { require.NoError(t, os.Remove(filepath.Join(d, "config.json"))) })
	badConfig := broken("bad-config", func(d string) { require.NoError(t, os.WriteFile(filepath.Join(d, "config.json"), []byte("{"), 0o644)) })
	future := broken("future", func(d string) {
		path := filepath.Join(d, "config.json")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, bytes.Replace(text, []byte(`"format_version": 1`), []byte(`"format_version": 99`), 1), 0o644))
	})
	recipe := vlmtool("train", "--print-config").stdout
	noText := write("no-text.json", regexp.MustCompile(`"text_config":\{[^}]*\},`).ReplaceAllString(recipe, ""))
	noPatch := write("no-patch.json", strings.Replace(recipe, `"patch_size":8`, `"patch_size":0`, 1))
	out := filepath.Join(dir, "out")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	taken := listener.Addr().String()
	ask := func(model string, more ...string) []string {
		return append([]string{"infer", "--model", model, "--device", "cpu", "--prompt", "what color is the shape?"}, more...)
	}
	long := strings.Repeat("what color is the shape? ", 1000)
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		message string
	}{
		{"no command", nil, 2, "vlmtool"},
		{"unknown command", []string{"trian"}, 2, `unknown command "trian"`},
		{"unknown flag", []string{"train", "--stepz", "3"}, 2, "stepz"},
		{"not a number", []string{"train", "--steps", "many"}, 2, "many"},
		{"surplus argument", []string{"devices", "x"}, 2, `"x"`},
		{"no data", []string{"train", "--out", out}, 2, "--data"},
		{"no out", []string{"train", "--data", file}, 2, "--out"},
		{"missing file", []string{"train", "--data", "nowhere.parquet", "--out", out}, 2, "nowhere.parquet"},
		{"not parquet", []string{"train", "--data", quirks + "/files/not_parquet.parquet", "--out", out, "--device", "cpu"}, 1, "not_parquet.parquet"},
		{"empty file", []string{"train", "--data", empty, "--out", out, "--device", "cpu"}, 1, "empty.parquet"},
		{"no texts", []string{"train", "--data", quirks + "/files/no_columns.parquet", "--out", out, "--device", "cpu"}, 1, "texts"},
		{"no rows", []string{"train", "--data", quirks + "/files/zero_rows.parquet", "--out", out, "--device", "cpu"}, 1, "rows"},
		{"unknown preset", []string{"train", "--data", file, "--out", out, "--preset", "gpt"}, 2, "gpt"},
		{"negative steps", []string{"train", "--data", file, "--out", out, "--steps", "-1"}, 2, "steps"},
		{"unknown attention", []string{"train", "--data", file, "--out", out, "--attention", "all"}, 2, "attention"},
		{"shared prefix with causal attention", []string{"train", "--data", file, "--out", out, "--attention", "causal"}, 2, "causal"},
		{"pretrained preset without decoder", []string{"train", "--data", file, "--out", out, "--preset", "smollm2-135m"}, 2, "--decoder"},
		{"unknown value of recompute", []string{"train", "--data", file, "--out", out, "--recompute", "maybe"}, 2, "recompute"},
		{"8 bits", []string{"train", "--data", file, "--out", out, "--dtype", "int8"}, 2, "want f32, f16 or bf16"},
		{"no peak", []string{"train", "--dry-run", "--peak-tflops", "0"}, 2, "--peak-tflops"},
		{"price is NaN", []string{"train", "--dry-run", "--price-per-hour", "NaN"}, 2, "--price-per-hour"},
		{"no address", []string{"train", "--data", file, "--out", out, "--listen", "here"}, 2, "127.0.0.1:8080"},
		{"empty address", []string{"train", "--data", file, "--out", out, "--listen", ""}, 2, "--listen"},
		{"port in use", []string{"train", "--data", file, "--out", out, "--device", "cpu", "--listen", taken, "--quiet"}, 1, taken},
		{"events in place of a file", []string{"train", "--data", file, "--out", out, "--device", "cpu", "--tensorboard", noImage}, 1, "--tensorboard"},
		{"events of a run that cannot start", []string{"train", "--data", empty, "--out", out, "--device", "cpu", "--tensorboard", filepath.Join(out, "events")}, 1, "empty.parquet"},
		{"negative peak", []string{"train", "--data", file, "--out", out, "--peak-tflops", "-1"}, 2, "--peak-tflops"},
		{"dry run on an unknown device", []string{"train", "--dry-run", "--device", "tpu"}, 2, "tpu"},
		{"too large for a kernel", []string{"train", "--dry-run", "--preset", "qwen3-1.7b", "--batch-size", "4096", "--seq-len", "131072"}, 1, "elements"},
		{"recipe without a decoder", []string{"train", "--data", file, "--out", out, "--config", noText}, 2, "text_config"},
		{"recipe without patches", []string{"train", "--data", file, "--out", out, "--config", noPatch}, 2, "patch_size"},
		{"out is in use", []string{"train", "--data", file, "--out", model}, 2, "--resume"},
		{"resume with other settings", []string{"train", "--data", file, "--out", model, "--resume", "--device", "cpu", "--seq-len", "100"}, 2, "seq-len"},
		{"unknown device", []string{"train", "--data", file, "--out", out, "--device", "tpu"}, 2, "tpu"},
		{"missing device", []string{"train", "--data", file, "--out", out, "--device", "vulkan:99"}, 1, "vulkan:99"},
		{"missing WebGPU adapter", []string{"train", "--data", file, "--out", out, "--device", "webgpu:99"}, 1, "WebGPU"},
		{"no model", []string{"infer", "--prompt", "x"}, 2, "--model"},
		{"missing model", ask("nowhere"), 1, "nowhere"},
		{"no prompt", []string{"infer", "--model", model}, 2, "--prompt"},
		{"no config", ask(noConfig), 1, "config.json"},
		{"bad config", ask(badConfig), 1, "config.json"},
		{"future format", ask(future), 1, "99"},
		{"truncated weights", ask(truncated), 1, "model.safetensors"},
		{"missing tensor", ask(missing), 1, "connector.bias"},
		{"misshapen tensor", ask(misshapen), 1, "connector.bias"},
		{"missing image", ask(model, "--image", "nowhere.png"), 1, "nowhere.png"},
		{"not an image", ask(model, "--image", noImage), 1, "x.png"},
		{"prompt longer than the context", []string{"infer", "--model", model, "--device", "cpu", "--image", imageFile, "--prompt", long}, 1, "context"},
		{"eval without data", []string{"eval", "--model", model}, 2, "--data"},
		{"eval of data and text", []string{"eval", "--model", model, "--data", file, "--text", file}, 2, "--text"},
		{"one choice", []string{"eval", "--model", model, "--data", file, "--choices", "yes"}, 2, "--choices"},
		{"empty text", []string{"eval", "--model", model, "--text", empty, "--device", "cpu"}, 1, "scoring needs at least 2"},
		{"unwritable answers", []string{"eval", "--model", model, "--data", file, "--output", filepath.Join(dir, "no", "folder"), "--device", "cpu"}, 1, "--output"},
		{"unknown control", []string{"eval", "--model", model, "--data", file, "--control", "black"}, 2, "black"},
		{"bench without a command", []string{"bench"}, 2, "kernels"},
		{"bench a preset and a model", []string{"bench", "infer", "--preset", "shapes", "--model", model}, 2, "--preset"},
		{"bench without tokens", []string{"bench", "infer", "--new", "0"}, 2, "--new"},
		{"bench beyond the context", []string{"bench", "infer", "--device", "cpu", "--new", "100000"}, 1, "context"},
		{"penalty 0", ask(model, "--repetition-penalty", "0"), 2, "repetition-penalty"},
		{"image and questions from standard input", ask(model, "--chat", "--image", "-"), 2, "--image -"},
		{"bad filter", []string{"bench", "kernels", "--filter", "("}, 2, "filter"},
		{"filter without matches", []string{"bench", "kernels", "--filter", "warp", "--device", "cpu"}, 2, "warp"},
		{"unknown work", []string{"bench", "kernels", "--work", "play"}, 2, "play"},
		{"no samples", []string{"bench", "kernels", "--count", "0"}, 2, "--count"},
		{"no earlier run", []string{"bench", "kernels", "--compare", "nowhere"}, 2, "nowhere"},
		{"tune of an unknown preset", []string{"tune", "--preset", "gpt"}, 2, "gpt"},
		{"inspect nothing", []string{"inspect"}, 2, "PATH"},
		{"inspect a missing file", []string{"inspect", "nowhere"}, 2, "nowhere"},
		{"data without a command", []string{"data"}, 2, "import"},
		{"import nothing", []string{"data", "import", "--out", out}, 2, "FOLDER"},
		{"import without --out", []string{"data", "import", dir}, 2, "--out"},
		{"import into a used folder", []string{"data", "import", dir, "--out", model}, 2, "is not empty"},
		{"import a missing folder", []string{"data", "import", "nowhere", "--out", out}, 2, "nowhere"},
		{"import with only a test split", []string{"data", "import", dir, "--out", out, "--test-fraction", "1"}, 2, "--test-fraction"},
		{"bad log level", []string{"devices", "--log-level", "loud"}, 2, "loud"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := vlmtool(c.args...)
			lines := strings.Count(got.stderr, "\n")
			if got.code != c.code || !strings.Contains(got.stderr, c.message) || got.stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr %q; want exit %d and %q", got.code, got.stdout, got.stderr, c.code, c.message)
			}
			if lines > 12 || c.code == 1 && lines > 1 {
				t.Errorf("%d lines on stderr:\n%s", lines, got.stderr)
			}
			if _, err := os.Stat(out); err == nil {
				t.Errorf("%s was left behind", out)
				require.NoError(t, os.RemoveAll(out))
			}
		})
	}
}

// rewrite removes a tensor from a model's weights, or changes its shape.
func rewrite(t *testing.T, dir, name string, shape []int) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var entries []safetensors.Entry
	for _, n := range f.Names() {
		info, _ := f.Tensor(n)
		if n == name {
			if shape == nil {
				continue
			}
			info.Shape = shape
		}
		entries = append(entries, safetensors.Floats(n, info.Shape, func() ([]float32, error) { return f.Float32(n) }))
	}
	changed, err := os.Create(path + ".new")
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(changed, nil, entries))
	require.NoError(t, changed.Close())
	require.NoError(t, os.Rename(path+".new", path))
}

// TestJSON: with --json stdout has one object per line, the result last.
func TestJSON(t *testing.T) {
	model, file := smallRun(t)
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	imageFile := filepath.Join(t.TempDir(), "p.png")
	require.NoError(t, os.WriteFile(imageFile, row.Images[0], 0o644))
	for _, c := range []struct {
		args []string
		keys []string // of the last object
	}{
		{[]string{"devices"}, []string{"device", "name", "limits"}},
		{[]string{"train", "--print-config"}, []string{"preset", "attention", "lr", "vision_config"}},
		{[]string{"train", "--dry-run"}, []string{"parameters", "tokens_per_step", "flops_per_step", "memory_bytes", "hours", "dollars"}},
		{[]string{"train", "--dry-run", "--preset", "qwen3-1.7b"}, []string{"parameters", "memory_bytes", "recompute"}},
		{[]string{"train", "--dry-run", "--preset", "qwen3-1.7b", "--dtype", "bf16"}, []string{"parameters", "memory_bytes", "dtype"}},
		{[]string{"train", "--resume", "--data", file, "--out", model, "--device", "cpu"}, []string{"steps", "device", "out"}},
		{[]string{"infer", "--model", model, "--image", imageFile, "--prompt", "what color is the shape?", "--device", "cpu"},
			[]string{"text", "prompt_tokens", "completion_tokens", "finish_reason", "device", "timings"}},
		{[]string{"eval", "--model", model, "--data", file, "--device", "cpu"}, []string{"samples", "turns", "exact_match", "nll_per_token", "perplexity", "device"}},
		{[]string{"inspect", file, "--rows"}, []string{"file", "row", "status", "reason", "images", "turns"}},
		{[]string{"inspect", model}, []string{"config", "parameters"}},
		{[]string{"bench", "infer", "--device", "cpu", "--new", "4", "--prompt-tokens", "80"},
			[]string{"bench", "preset", "prompt_tokens", "images", "prefill_ms", "tokens_per_s", "gb_per_s", "device"}},
	} {
		t.Run(strings.Join(c.args[:min(2, len(c.args))], " "), func(t *testing.T) {
			got := vlmtool(append(c.args, "--json")...)
			if got.code != 0 {
				t.Fatalf("%+v", got)
			}
			lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
			var last map[string]any
			for _, line := range lines {
				last = nil
				if err := json.Unmarshal([]byte(line), &last); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
			for _, k := range c.keys {
				if _, ok := last[k]; !ok {
					t.Errorf("no %q in %s", k, lines[len(lines)-1])
				}
			}
		})
	}
}
