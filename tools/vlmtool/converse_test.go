package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/infer"
	"patchwork/vlm/data"
)

// asInput makes a text the standard input; with open it does not end after the text.
func asInput(t *testing.T, text string, open bool) (more *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	before := os.Stdin
	os.Stdin = r
	t.Cleanup(func() { os.Stdin = before; w.Close(); r.Close() })
	_, err = io.WriteString(w, text)
	require.NoError(t, err)
	if !open {
		require.NoError(t, w.Close())
	}
	return w
}

// exampleImage writes an image of the test data to a file.
func exampleImage(t *testing.T, file string) string {
	t.Helper()
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "p.png")
	require.NoError(t, os.WriteFile(path, row.Images[0], 0o644))
	return path
}

// TestChat holds conversations over a pipe.
func TestChat(t *testing.T) {
	model, file := smallRun(t)
	model = withTurns(t, model, "conversation")
	imageFile := exampleImage(t, file)
	question := "what color is the shape?\n"
	for _, c := range []struct {
		name, input string
		args        []string
		answers     []int    // images in the prompt of each answer
		message     []string // on stderr
	}{
		{"nothing", "", nil, nil, nil},
		{"no end of line", strings.TrimSpace(question), nil, []int{0}, nil},
		{"two turns", question + "\n" + "why?\n", []string{"--image", imageFile}, []int{1, 1}, nil},
		{"images in later turns", question + "/image " + imageFile + "\n/image " + imageFile + "\n" + question + question, nil, []int{0, 2, 2}, nil},
		{"clear", question + "/clear\n" + question, []string{"--image", imageFile}, []int{1, 0}, nil},
		{"quit", question + "/quit\n" + question, nil, []int{0}, nil},
		{"first question given", question, []string{"--prompt", "is there a red shape?"}, []int{0, 0}, nil},
		{"help", "/help\n", nil, nil, []string{"/image FILE", "/clear", "/quit"}},
		{"mistakes", "/imagine\n/image\n/image nowhere.png\n/image " + file + "\n" + question, nil, []int{0}, []string{"/imagine", "/image needs", "nowhere.png", file}},
		{"a question with a slash", "//image is a word\n", nil, []int{0}, nil},
		{"too long", question + strings.Repeat("what color is the shape? ", 1000) + "\n" + question, nil, []int{0, 0}, []string{"/clear"}},
		{"control tokens are text", "<|im_end|><|image|>\n", nil, []int{0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			asInput(t, c.input, false)
			got := vlmtool(append([]string{"infer", "--chat", "--model", model, "--device", "cpu", "--json", "--max-new-tokens", "3"}, c.args...)...)
			if got.code != 0 {
				t.Fatalf("%+v", got)
			}
			results := answersOf(t, got.stdout)
			if len(results) != len(c.answers) {
				t.Fatalf("%d answers, want %d: %+v", len(results), len(c.answers), got)
			}
			for i, r := range results {
				const patches = 64
				if least := c.answers[i] * patches; r.PromptTokens <= least || r.PromptTokens > least+patches {
					t.Errorf("answer %d has a prompt of %d tokens, want %d of images and a few more", i, r.PromptTokens, least)
				}
			}
			for _, want := range c.message {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("stderr is %q, want %q in it", got.stderr, want)
				}
			}
			noImage := len(c.answers) > 0 && c.answers[0] == 0
			if noImage != strings.Contains(got.stderr, "no image was given") || len(c.message) == 0 && !noImage && got.stderr != "" {
				t.Errorf("stderr is %q", got.stderr)
			}
		})
	}
}

// withTurns is a copy of a model with a layout of turns in its config.json.
func withTurns(t *testing.T, model, turns string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	entries, err := os.ReadDir(model)
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(model, e.Name()))
		require.NoError(t, err)
		if e.Name() == "config.json" {
			var c map[string]any
			require.NoError(t, json.Unmarshal(text, &c))
			c["turns"] = turns
			text, err = json.Marshal(c)
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, e.Name()), text, 0o644))
	}
	return dir
}

// TestChatSingleTurn: a model that was trained on single questions answers each as the only
// one, about the last images.
func TestChatSingleTurn(t *testing.T) {
	model, file := smallRun(t) // the shapes preset has shared-prefix turns
	imageFile := exampleImage(t, file)
	ask := func(input string, args ...string) []infer.Result {
		t.Helper()
		asInput(t, input, false)
		got := vlmtool(append([]string{"infer", "--chat", "--model", model, "--device", "cpu", "--json", "--max-new-tokens", "6", "--image", imageFile}, args...)...)
		if got.code != 0 {
			t.Fatalf("%+v", got)
		}
		return answersOf(t, got.stdout)
	}
	alone := map[string]infer.Result{}
	questions := []string{"what color is the shape?", "is there a red shape?", "is there not a blue shape?"}
	for _, q := range questions {
		alone[q] = ask(q + "\n")[0]
	}
	for i, r := range ask(strings.Join(questions, "\n") + "\n") {
		if want := alone[questions[i]]; r.Text != want.Text || r.PromptTokens != want.PromptTokens {
			t.Errorf("%q after others: %q after %d tokens, alone %q after %d", questions[i], r.Text, r.PromptTokens, want.Text, want.PromptTokens)
		}
	}
	again := ask(questions[0] + "\n/image " + imageFile + "\n" + questions[0] + "\n")
	if again[1].PromptTokens != again[0].PromptTokens {
		t.Errorf("with a new image the prompt has %d tokens, before %d", again[1].PromptTokens, again[0].PromptTokens)
	}
}

// interrupts sends interrupts to this process. It receives them too, so that they do not end
// the tests where nothing else does.
type interrupts chan os.Signal

func newInterrupts(t *testing.T) interrupts {
	c := make(interrupts, 1)
	signal.Notify(c, os.Interrupt)
	t.Cleanup(func() { signal.Stop(c) })
	return c
}

// send sends an interrupt and returns when it has been delivered.
func (c interrupts) send() error {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(os.Interrupt)
	}
	if err != nil {
		return err
	}
	<-c
	signal.Notify(c, os.Interrupt) // returns after delivery to all channels
	return nil
}

// interrupting is a writer whose first write sends an interrupt. Writes are slow, so that the
// interrupt is handled before the answer is complete.
type interrupting struct {
	bytes.Buffer
	interrupts
	t    *testing.T
	once sync.Once
	more *os.File
}

func (w *interrupting) Write(p []byte) (int, error) {
	w.once.Do(func() {
		if err := w.send(); err != nil {
			w.t.Error(err)
		}
		_, _ = io.WriteString(w.more, "/quit\n") // ends the conversation
	})
	time.Sleep(time.Millisecond)
	return w.Buffer.Write(p)
}

// TestChatInterrupt: an interrupt stops an answer; at the prompt it ends the conversation.
func TestChatInterrupt(t *testing.T) {
	model, _ := smallRun(t)
	signals := newInterrupts(t)
	question := "what color is the shape?\n"
	var args []string
	var whole outcome
	for seed := 0; len(whole.stdout) < 200; seed++ { // the untrained model ends by chance
		args = []string{"infer", "--chat", "-q", "--model", model, "--device", "cpu", "--temperature", "5", "--seed", strconv.Itoa(seed)}
		asInput(t, question, false)
		if whole = vlmtool(args...); whole.code != 0 || seed == 50 {
			t.Fatalf("no long answer: %+v", whole)
		}
	}

	out := &interrupting{interrupts: signals, t: t, more: asInput(t, question, true)}
	var stderr bytes.Buffer
	if code := run(context.Background(), args, out, &stderr); code != 0 || stderr.Len() > 0 {
		t.Errorf("exit %d after an interrupted answer, stderr %q", code, stderr.String())
	}
	// A truncated UTF-8 sequence ends as U+FFFD.
	if got := out.String(); len(got) >= len(whole.stdout) || !strings.HasPrefix(whole.stdout, strings.TrimRight(got, "\n\uFFFD")) {
		t.Errorf("the interrupted answer is %q, the whole one %q", got, whole.stdout)
	}

	asInput(t, "/clear\n", true)
	done := make(chan outcome)
	go func() { done <- vlmtool(args...) }()
	for {
		select {
		case got := <-done:
			if got.code != cli.ExitInterrupted {
				t.Errorf("an interrupt at the prompt: %+v", got)
			}
			return
		case <-time.After(50 * time.Millisecond): // the first may come before the conversation handles signals
			require.NoError(t, signals.send())
		}
	}
}

// answersOf parses the lines that infer --json printed.
func answersOf(t *testing.T, stdout string) []infer.Result {
	t.Helper()
	var results []infer.Result
	for line := range strings.Lines(stdout) {
		var r infer.Result
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		results = append(results, r)
	}
	return results
}
