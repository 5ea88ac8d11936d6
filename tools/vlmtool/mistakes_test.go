package main

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/data"
)

// jargon is text of Go's libraries that a user should not see.
var jargon = regexp.MustCompile(`strconv|parsing "|invalid argument "|json: (cannot|unknown f|inv)|invalid character|unexpected EOF|cannot unmarshal|runtime error|0x[0-9a-f]{6}|&\{|%!|<nil>|goroutine|errors\.|syntax error|unknown shorthand|unknown flag:|is a directory|permission denied$|no such file or directory$|nil pointer`)

// clear checks the outcome of a mistake: the exit code, one line with all of wants and
// without jargon, and nothing on stdout.
func (got outcome) clear(t *testing.T, code int, wants ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
	if got.code != code || got.stdout != "" {
		t.Errorf("exit %d, want %d; stdout %q, stderr %q", got.code, code, got.stdout, got.stderr)
	}
	if code == cli.ExitUsage && (len(lines) != 2 || !strings.Contains(lines[1], "--help")) || code == cli.ExitFailed && len(lines) != 1 {
		t.Errorf("%d lines:\n%s", len(lines), got.stderr)
	}
	for _, wanted := range wants {
		if !strings.Contains(lines[0], wanted) {
			t.Errorf("no %q in: %s", wanted, lines[0])
		}
	}
	if found := jargon.FindString(lines[0]); found != "" {
		t.Errorf("%q in: %s", found, lines[0])
	}
}

// listing is every file and folder in dir, with modification times.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if d.Name() == ".lock" { // stays from run to run
			return nil
		}
		if err == nil && !d.IsDir() {
			all.WriteString(path + " " + info.ModTime().String() + "\n")
		} else {
			all.WriteString(path + "\n")
		}
		return err
	}))
	return all.String()
}

// TestMistakes makes a new user's mistakes: each gives one line with what is wrong, where
// and what to do, and leaves no file.
func TestMistakes(t *testing.T) {
	model, file := smallRun(t)
	home := t.TempDir()
	t.Chdir(home)
	write := func(name, text string) string {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		return name
	}
	write("empty", "")
	write("notes.txt", "these are notes")
	write("notes.png", "these are notes")
	write("words.gguf", "these are notes")
	write("text.parquet", "these are notes")
	write("recipe.json", `{"steps": "many"}`)
	write("half.json", `{"steps":`)
	write("unknown.json", `{"stepz": 3}`)
	write("report.json", "these are notes")
	write("bench.txt", "these are notes")
	write("list.jsonl", `{"picture": "a.png"}`)
	write("tags.jsonl", `{"question": "<image>what?", "answer": "red"}`)
	write("stills.jsonl", `{"image": "notes.png", "time": 0}`)
	write("link.jsonl", `{"image": "/etc/hostname", "text": "a name"}`)
	write("latin.csv", "image,text\na.png,caf\xe9\n")
	write("latin.txt", "caf\xe9 au lait")
	write("half16.txt", "\xff\xfea\x00b")
	write("addresses.csv", "url,text\nhttps://a/a.png,a\n")
	write("one.json", "{\n\"entries\": []}")
	write("secret.parquet", "PARE0123PARE")
	require.NoError(t, os.Mkdir("folder", 0o755))
	require.NoError(t, os.Mkdir("mixed", 0o755))
	require.NoError(t, os.Mkdir("locked", 0o755))
	for _, name := range []string{"train-0.parquet", "test-0.parquet"} {
		require.NoError(t, os.WriteFile(filepath.Join("mixed", name), require.Value(os.ReadFile(file))(t), 0o644))
	}
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("a.png", row.Images[0], 0o644))
	require.NoError(t, os.WriteFile("cut.png", row.Images[0][:len(row.Images[0])/2], 0o644))
	require.NoError(t, os.CopyFS("data", os.DirFS(filepath.Dir(file))))
	require.NoError(t, os.RemoveAll("data/run"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := listener.Addr().String()
	if got := vlmtool("export", "--model", model, "--decoder-only", "--out", "decoder", "--quiet"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	require.NoError(t, os.WriteFile("locked/file", row.Images[0], 0o000))
	require.NoError(t, os.Chmod("locked", 0o555))
	defer os.Chmod("locked", 0o755)

	train := func(more ...string) []string {
		return append([]string{"train", "--data", file, "--out", "run", "--device", "cpu"}, more...)
	}
	ask := func(more ...string) []string {
		return append([]string{"infer", "--model", model, "--prompt", "what?", "--device", "cpu"}, more...)
	}
	score := func(more ...string) []string {
		return append([]string{"eval", "--model", model, "--data", file, "--device", "cpu"}, more...)
	}
	line := func(words string) []string { return strings.Fields(words) }
	before := listing(t, home) + listing(t, model)
	for _, c := range []struct {
		args    []string
		code    int
		message []string
	}{
		// Commands.
		{line("trian"), 2, []string{`"trian"`, "did you mean vlmtool train?"}},
		{line("help trian"), 2, []string{`"trian"`, "did you mean train?"}},
		{line("help bench kernel"), 2, []string{`"bench kernel"`, "did you mean bench kernels?"}},
		{line("--model x infer"), 2, []string{`"--model"`, "COMMAND --model"}},
		{line("bench"), 2, []string{"kernels, train, infer, embedder or data"}},
		{line("bench kernel"), 2, []string{"did you mean bench kernels?"}},
		{line("data imprt folder"), 2, []string{"did you mean data import?"}},
		{line("completion"), 2, []string{"bash, zsh, fish or powershell"}},
		{line("completion cmd"), 2, []string{`"completion cmd"`, "bash, zsh, fish or powershell"}},
		{line("man"), 2, []string{"DIR is missing"}},
		{line("man notes.txt"), 1, []string{"notes.txt", "folder"}},
		{line("version now"), 2, []string{`"now"`}},
		// Flags.
		{train("--stepz", "3"), 2, []string{"--stepz", "did you mean --steps?"}},
		{train("-steps", "3"), 2, []string{"did you mean --steps?"}},
		{train("-x"), 2, []string{"-x"}},
		{train("--steps"), 2, []string{"--steps needs a value", "int"}},
		{train("--steps", "many"), 2, []string{"--steps", `"many"`, "whole number"}},
		{train("--steps", "1.5"), 2, []string{"whole number"}},
		{train("--steps", "99999999999999999999"), 2, []string{"too large"}},
		{train("--seed", "-1"), 2, []string{"0 or above"}},
		{train("--lr", "fast"), 2, []string{"number such as"}},
		{train("--lr", "NaN"), 2, []string{"--lr", "finite"}},
		{train("--lr", "+Inf"), 2, []string{"--lr", "finite"}},
		{train("--resume=perhaps"), 2, []string{"--resume", "true or false"}},
		{train("--prompt", "x"), 2, []string{"infer"}},
		{train("more.parquet"), 2, []string{`"more.parquet"`, "quotes"}},
		{train("--==x"), 2, []string{"--name VALUE"}},
		{line("bench kernels --case-time soon"), 2, []string{"30s"}},
		{line("devices --log-level loud"), 2, []string{`"loud"`, "debug, info, warn or error"}},
		{line("devices --threads -1"), 2, []string{"--threads"}},
		// Values.
		{train("--preset", "smollm2-136m"), 2, []string{"did you mean smollm2-135m?"}},
		{train("--preset", "gpt"), 2, []string{`"gpt"`, "qwen3-1.7b"}},
		{train("--dtype", "fp16"), 2, []string{`"fp16"`, "did you mean f16?"}},
		{train("--attention", "sliding"), 2, []string{"document"}},
		{train("--device", "cuda"), 2, []string{`"cuda"`, "vulkan[:N]"}},
		{train("--device", "cpu:1"), 2, []string{"cpu:1"}},
		{train("--device", "vulkan:first"), 2, []string{"vulkan[:N]"}},
		{train("--device", "vulkan:99"), 1, []string{"vulkan:99", "vlmtool devices"}},
		{train("--steps", "0"), 2, []string{"--steps", "want 1 to"}},
		{train("--epochs", "0"), 2, []string{"--epochs cannot be 0", "--steps"}},
		{train("--epochs", "-1"), 2, []string{"--epochs cannot be -1"}},
		{train("--steps", "2", "--epochs", "1"), 2, []string{"--steps and --epochs are both given; one is enough"}},
		{train("--optimizer", "sgd"), 2, []string{"--optimizer", "sgd", "adamw", "muon"}},
		{train("--optimizer", "adamw8bit", "--shard-optimizer"), 2, []string{"--shard-optimizer cannot divide", "--optimizer adamw8bit", "leave one of them out"}},
		{train("--muon-scale", "-1"), 2, []string{"--muon-scale cannot be -1, want 0 or above"}},
		{train("--qat", "q4_k"), 2, []string{"--qat", "q4_k", "q8_0, q4_0, q4_1, q5_0 or q5_1"}},
		{train("--qat-steps", "5"), 2, []string{"--qat TYPE"}},
		{train("--qat", "q4_0", "--lora-rank", "4", "--model", model), 2, []string{"--qat", "--lora-rank", "--weights q4_0"}},
		{train("--model", "run", "--mean-colors"), 2, []string{"--mean-colors cannot be changed", "--model", "leave it out"}},
		{train("--model", "run", "--image-experts"), 2, []string{"--image-experts cannot be changed", "leave it out"}},
		{train("--embedder", "fuyu"), 2, []string{"--embedder", "fuyu", "norms, linear, stem or encoder"}},
		{train("--embedder", "encoder", "--image-size", "keep:64"), 2, []string{"encoder embedder takes square images only"}},
		{train("--embedder", "linear", "--mean-colors"), 2, []string{"mean_colors is not for the linear embedder"}},
		{train("--preset", "words", "--embedder", "stem"), 2, []string{"--embedder: the recipe takes no images"}},
		{train("--image-experts", "--lora-rank", "4", "--model", model), 2, []string{"--image-experts cannot be changed"}},
		{train("--seq-len", "20"), 2, []string{"--seq-len 20", "the shortest takes 7"}},
		{train("--batch-size", "-3"), 2, []string{"--batch-size"}},
		{train("--max-bad-fraction", "7"), 2, []string{"--max-bad-fraction", "7"}},
		{train("--keep", "0"), 2, []string{"--keep"}},
		{train("--attention", "causal"), 2, []string{"--turns"}},
		{train("--attention", "seed", "--turns", "branches"), 2, []string{"attention causal", "shared_prefix"}},
		{train("--preset", "shapes", "--config", "recipe.json"), 2, []string{"--preset and --config"}},
		{train("--decoder", "folder", "--model", model), 2, []string{"--decoder and --model"}},
		{train("--preset", "smollm2-135m"), 2, []string{"vlmtool fetch"}},
		{train("--listen", "everywhere"), 2, []string{"127.0.0.1:8080"}},
		{train("--listen", port), 1, []string{port, "another port"}},
		// Recipes and other files.
		{train("--config", "nowhere.json"), 2, []string{"nowhere.json", "--config"}},
		{train("--config", "folder"), 2, []string{"folder", "--config"}},
		{train("--config", "recipe.json"), 2, []string{"recipe.json", "steps"}},
		{train("--config", "half.json"), 2, []string{"half.json"}},
		{train("--config", "unknown.json"), 2, []string{"unknown.json", "stepz"}},
		{train("--config", "notes.txt"), 2, []string{"notes.txt"}},
		{line("train --dry-run --report nowhere.json"), 1, []string{"nowhere.json", "--report"}},
		{line("train --dry-run --report report.json"), 1, []string{"report.json"}},
		{train("--decoder", "nowhere"), 1, []string{"nowhere"}},
		{train("--decoder", "folder"), 1, []string{"folder", "config.json"}},
		{train("--decoder", "words.gguf"), 1, []string{"words.gguf", "GGUF"}},
		{train("--model", "folder"), 1, []string{"folder"}},
		{train("--model", model, "--image-tokens", "9"), 2, []string{"--image-tokens", "square images", "keep:N"}},
		{train("--image-tokens", "9"), 2, []string{"--image-tokens", "--image-size keep:9"}},
		{ask("--mmproj", "words.gguf"), 1, []string{"--mmproj belongs to a GGUF file"}},
		// Data.
		{line("train --data folder --out run"), 2, []string{"folder", "*.parquet"}},
		{line("train --data nowhere --out run"), 2, []string{"nowhere"}},
		{line("train --data mixed --out run"), 2, []string{"test", "train-*.parquet"}},
		{line("train --data a*.parquet --out run"), 2, []string{"a*.parquet"}},
		{line("train --data text.parquet --out run --device cpu"), 1, []string{"text.parquet", "vlmtool data import"}},
		{line("train --data empty --out run --device cpu"), 1, []string{"empty"}},
		{line("train --data a.png --out run --device cpu"), 1, []string{"a.png"}},
		{train("--val-data", "nowhere"), 2, []string{"nowhere"}},
		{train("--out", "notes.txt"), 1, []string{"notes.txt", "folder"}},
		{train("--out", "data"), 2, []string{"data", "--resume"}},
		{train("--out", "locked/run"), 1, []string{"locked"}},
		{train("--profile", "nowhere/trace.json", "--steps", "1"), 2, []string{"--profile", "nowhere"}},
		{train("--profile", "folder", "--steps", "1"), 2, []string{"--profile", "folder"}},
		{[]string{"train", "--data", file, "--out", model, "--device", "cpu", "--resume", "--seed", "4"}, 2, []string{"seed", "another --out"}},
		// Asking.
		{line("infer --model demo --prompt x"), 1, []string{"demo"}},
		{ask("--image", "nowhere.png"), 1, []string{"--image", "nowhere.png"}},
		{ask("--image", "folder"), 1, []string{"--image", "folder"}},
		{ask("--image", "notes.png"), 1, []string{"notes.png", "PNG"}},
		{ask("--image", "cut.png"), 1, []string{"cut.png"}},
		{ask("--image-tokens", "-3"), 2, []string{"--image-tokens cannot be -3"}},
		{ask("--image-tokens", "140"), 2, []string{"--image-tokens", "square images", "keep:N"}},
		{ask("--frames", "nowhere.jsonl"), 1, []string{"--frames", "nowhere.jsonl"}},
		{ask("--frames", "tags.jsonl"), 1, []string{"--frames tags.jsonl", "line 1", "SECONDS"}},
		{ask("--frames", "stills.jsonl"), 1, []string{"--frames stills.jsonl", "notes.png", "PNG"}},
		{ask("--frames", "stills.jsonl", "--raw"), 2, []string{"--frames and --raw"}},
		{ask("--image", "empty"), 1, []string{"--image empty", "another"}},
		{ask("--image", "locked/file"), 1, []string{"locked/file"}},
		{ask("--prompt", "caf\xe9?"), 2, []string{"--prompt", "UTF-8"}},
		{ask("a", "question"), 2, []string{`"a"`, "quotes"}},
		{ask("--top-p", "1.5"), 2, []string{"--top-p"}},
		{ask("--temperature", "-1"), 2, []string{"--temperature"}},
		{ask("--temperature", "nan"), 2, []string{"--temperature", "finite"}},
		{ask("--max-new-tokens", "0"), 2, []string{"--max-new-tokens"}},
		{ask("--raw", "--chat"), 2, []string{"--raw and --chat"}},
		{line("infer --model folder --prompt x --device cpu"), 1, []string{"folder", "no model", "config.json"}},
		{line("infer --model notes.txt --prompt x --device cpu"), 1, []string{"notes.txt"}},
		{line("infer --model words.gguf --prompt x --device cpu"), 1, []string{"words.gguf", "GGUF"}},
		{line("infer --model data/" + filepath.Base(file) + " --prompt x --device cpu"), 1, []string{"parquet", "a model's folder"}},
		{line("infer --model decoder --image a.png --prompt x --device cpu"), 2, []string{"decoder", "text-only"}},
		{line("infer --image a.png --prompt x"), 2, []string{"--model is missing"}},
		{line("train --dry-run --image-size 65"), 2, []string{"--image-size", "65", "patch_size"}},
		{line("train --dry-run --image-size keep"), 2, []string{"--image-size", "keep:N"}},
		{line("train --dry-run --image-size keep:100000"), 2, []string{"--image-size", "100000"}},
		// Scoring.
		{line("eval --model decoder --data " + file + " --device cpu"), 2, []string{"decoder", "--text"}},
		{line("eval --model words.gguf --data mixed/test-0.parquet --device cpu"), 1, []string{"words.gguf", "GGUF"}},
		{score("--control", "black"), 2, []string{`"black"`, "did you mean blank?"}},
		{score("--control", "none,"), 2, []string{"none, shuffled or blank"}},
		{score("--limit", "-1"), 2, []string{"--limit"}},
		{score("--choices", ""), 2, []string{"--choices is empty", "letters"}},
		{score("--choices", "nowhere"), 2, []string{"--choices", "nowhere"}},
		{score("--output", "nowhere/a.jsonl"), 1, []string{"--output", "nowhere"}},
		{score("--output", "folder"), 1, []string{"--output", "folder"}},
		{line("eval --model " + model + " --text nowhere --device cpu"), 1, []string{"--text", "nowhere"}},
		{line("eval --model " + model + " --text folder --device cpu"), 1, []string{"--text", "folder"}},
		{line("eval --model " + model + " --text latin.txt --device cpu"), 1, []string{"--text", "latin.txt is not in UTF-8: byte 4", "iconv"}},
		{line("eval --model " + model + " --text half16.txt --device cpu"), 1, []string{"half16.txt", "damaged UTF-16"}},
		// The others.
		{line("export --model nowhere --out exported"), 1, []string{"nowhere"}},
		{line("export --model " + model + " --out data"), 2, []string{"data", "not empty"}},
		{line("export --model " + model + " --out notes.txt"), 1, []string{"notes.txt", "folder"}},
		{line("export --model " + model + " --out exported --dtype q4"), 2, []string{"f32, f16 or bf16"}},
		{line("fetch --out fetched"), 2, []string{"OWNER/NAME"}},
		{line("fetch a/b/c/d --out fetched"), 2, []string{"a/b/c/d", "OWNER/NAME"}},
		{line("fetch a/b"), 2, []string{"--out"}},
		{line("fetch a/b --out fetched --type space"), 2, []string{"model or dataset"}},
		{line("fetch --preset shapes --out fetched"), 2, []string{"nothing to fetch"}},
		{line("inspect notes.txt"), 1, []string{"notes.txt"}},
		{line("inspect words.gguf"), 1, []string{"words.gguf"}},
		{line("inspect nowhere.gguf"), 1, []string{"nowhere.gguf"}},
		{line("inspect folder"), 2, []string{"folder"}},
		{line("inspect locked/file"), 1, []string{"locked/file"}},
		{line("bench kernels --filter ( --device cpu"), 2, []string{"--filter"}},
		{line("bench kernels --compare bench.txt --device cpu"), 2, []string{"bench.txt"}},
		{line("bench train --seq-len 1 --device cpu"), 2, []string{"--seq-len"}},
		{line("bench infer --model nowhere --device cpu"), 1, []string{"nowhere"}},
		{line("tune --device cpu"), 1, []string{"vulkan"}},
		{line("data import folder --out imported"), 2, []string{"folder"}},
		{line("data import list.jsonl --quiet --out imported"), 1, []string{"list.jsonl"}},
		{line("data import notes.txt --out imported"), 2, []string{"notes.txt"}},
		{line("data import tags.jsonl --quiet --out imported"), 1, []string{"tags.jsonl", "<image>"}},
		{line("data import link.jsonl --quiet --out imported"), 1, []string{"link.jsonl", "--follow-links"}},
		{line("data import latin.csv --quiet --out imported"), 1, []string{"latin.csv", "iconv -f WINDOWS-1252"}},
		{line("data import addresses.csv --quiet --out imported"), 2, []string{"addresses.csv", "column url", "download"}},
		{line("data import one.json --quiet --out imported"), 2, []string{"one.json", `"entries"`, "list"}},
		{[]string{"data", "import", "list.jsonl", "--out", "imported", "--prompt", ""}, 2, []string{"--prompt is empty"}},
		{line("data import list.jsonl --out imported --caption-lines -1"), 2, []string{"--caption-lines"}},
		{line("train --data secret.parquet --out run --device cpu"), 1, []string{"secret.parquet", "encrypted"}},
		{score("--control", "shuffled"), 2, []string{"--control shuffled", "different"}},
		{line("inspect " + file + " --rows --seq-len 100"), 2, []string{"--preset", "--model"}},
		{line("inspect " + file + " --preset shapes"), 2, []string{"--rows"}},
		{line("inspect " + file + " --rows --preset smollm2-135m"), 2, []string{"--model", "fetch"}},
		{line("inspect secret.parquet"), 1, []string{"secret.parquet", "encrypted"}},
		{line("inspect cut.png"), 1, []string{"cut.png", "an image"}},
	} {
		t.Run(strings.ReplaceAll(strings.Join(c.args, " "), "/", "_"), func(t *testing.T) {
			if os.Getuid() == 0 && bytes.Contains([]byte(strings.Join(c.args, " ")), []byte("locked")) {
				t.Skip("root may write and read everything")
			}
			got := vlmtool(c.args...)
			t.Log(got.stderr)
			got.clear(t, c.code, c.message...)
			if after := listing(t, home) + listing(t, model); after != before {
				t.Errorf("something was left behind:\n%s", after)
				require.NoError(t, os.RemoveAll("run"))
				before = listing(t, home) + listing(t, model)
			}
		})
	}
}
