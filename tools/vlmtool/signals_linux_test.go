package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
)

// asMain is an environment variable that makes the test binary run main, with its signals.
const asMain = "PATCHWORK_TEST_MAIN"

// started is vlmtool in a process.
type started struct {
	*exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *started {
	t.Helper()
	s := &started{Cmd: exec.Command(os.Args[0], args...)}
	s.Env = append(os.Environ(), asMain+"=1")
	s.Stdout, s.Stderr = &s.stdout, &s.stderr
	var err error
	s.stdin, err = s.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, s.Start())
	t.Cleanup(func() { _ = s.Process.Kill() })
	return s
}

// ends waits for the process and returns its exit code. A process that does not end runs
// into the timeout of go test.
func (s *started) ends() int {
	_ = s.Wait() // the exit code has the outcome
	return s.ProcessState.ExitCode()
}

// TestInterruptEnds: one interrupt ends a command that reads from an input that never ends.
func TestInterruptEnds(t *testing.T) {
	model, _ := smallRun(t)
	for _, args := range [][]string{
		{"infer", "--model", model, "--image", "-", "--prompt", "what?", "--device", "cpu"},
		{"inspect", model, "--render", "-"},
	} {
		s := start(t, args...)
		_, err := s.stdin.Write(make([]byte, 1<<17)) // more than a pipe holds: the command is reading
		require.NoError(t, err)
		require.NoError(t, s.Process.Signal(os.Interrupt))
		if code := s.ends(); code != cli.ExitInterrupted || strings.Count(s.stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, %q", args[0], code, s.stderr.String())
		}
	}
}

// endless is a copy of a model with a tokenizer whose pattern backtracks exponentially.
func endless(t *testing.T, model string) string {
	t.Helper()
	dir := copied(t, model)
	text, err := os.ReadFile(filepath.Join(model, "tokenizer.json"))
	require.NoError(t, err)
	var file map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &file))
	file["pre_tokenizer"] = json.RawMessage(`{"type": "Sequence", "pretokenizers": [
		{"type": "Split", "pattern": {"Regex": "(b+)+$"}, "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}`)
	text, err = json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "tokenizer.json")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o644))
	return dir
}

// TestEndlessPattern: a pattern that backtracks exponentially is an error of one line after
// its time limit, and an interrupt ends it earlier, in a conversation too.
func TestEndlessPattern(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits 8 s for the time limit of patterns")
	}
	model, _ := smallRun(t)
	model = endless(t, model)
	long := strings.Repeat("b", 60) + "?"
	ask := []string{"infer", "--model", model, "--device", "cpu", "--quiet", "--prompt", long}
	vlmtool(ask...).clear(t, cli.ExitFailed, "/(b+)+$/ takes more than")
	s := start(t, ask...)
	time.Sleep(500 * time.Millisecond)
	require.NoError(t, s.Process.Signal(os.Interrupt))
	if code := s.ends(); code != cli.ExitInterrupted || strings.Contains(s.stderr.String(), "takes more than") {
		t.Errorf("exit %d, %q", code, s.stderr.String())
	}
	for _, end := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGTERM, cli.ExitInterrupted}, {syscall.SIGINT, 0}} { // SIGINT ends the question, then the end of the input the conversation
		s := start(t, "infer", "--model", model, "--device", "cpu", "--quiet", "--chat")
		_, err := io.WriteString(s.stdin, long+"\n")
		require.NoError(t, err)
		time.Sleep(700 * time.Millisecond)
		require.NoError(t, s.Process.Signal(end.signal))
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, s.stdin.Close())
		if code := s.ends(); code != end.code || strings.Contains(s.stderr.String(), "takes more than") {
			t.Errorf("%v: exit %d, %q", end.signal, code, s.stderr.String())
		}
	}
}

// TestTrainSaves: on SIGHUP, SIGTERM and SIGPIPE a run saves a checkpoint and ends.
func TestTrainSaves(t *testing.T) {
	_, file := smallRun(t)
	for _, asked := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGPIPE} {
		if signal.Ignored(asked) {
			t.Logf("%v is ignored here, as under nohup", asked)
			continue
		}
		out := filepath.Join(t.TempDir(), "run")
		s := start(t, "train", "--data", file, "--out", out, "--device", "cpu", "--steps", "100000", "--seq-len", "160", "--batch-size", "1", "--save-every", "0", "--val-every", "0")
		for i := 0; ; i++ {
			if text, _ := os.ReadFile(filepath.Join(out, "metrics.jsonl")); bytes.Count(text, []byte("\n")) > 2 {
				break
			}
			if time.Sleep(20 * time.Millisecond); i == 1000 {
				require.NoError(t, s.Process.Kill())
				s.ends()
				t.Fatalf("no step was made: %s", s.stderr.String())
			}
		}
		require.NoError(t, s.Process.Signal(asked))
		code := s.ends()
		saved, _ := filepath.Glob(filepath.Join(out, "checkpoints", "step-*"))
		if code != cli.ExitInterrupted || len(saved) != 1 {
			t.Errorf("%v: exit %d with the checkpoints %v: %s", asked, code, saved, s.stderr.String())
		}
	}
}

// TestOutputThatFails: if standard output cannot be written, every command ends with one line
// of error.
func TestOutputThatFails(t *testing.T) {
	if testing.Short() {
		t.Skip("bench train measures for five seconds")
	}
	model, file := smallRun(t)
	imageFile := exampleImage(t, file)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full: ", err)
	}
	defer full.Close()
	for _, args := range [][]string{
		{"version"}, {"--version"}, {"--help"}, {"train", "--help"}, {"train", "--dry-run", "--preset", "shapes"}, {"train", "--print-config"}, {"devices", "-q"},
		{"inspect", model}, {"inspect", file}, {"inspect", file, "--rows"}, {"inspect", file, "--rows", "--json"}, {"completion", "bash"},
		{"infer", "--model", model, "--image", imageFile, "--prompt", "red?", "--device", "cpu"},
		{"eval", "--model", model, "--data", file, "--device", "cpu", "--limit", "3"},
		{"eval", "--model", model, "--data", file, "--device", "cpu", "--limit", "3", "--json", "--answers"},
		{"bench", "train", "--device", "cpu", "--seq-len", "160", "--batch-size", "1", "-q"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), args, full, &stderr)
		lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
		if last := lines[len(lines)-1]; code != cli.ExitFailed || strings.Count(stderr.String(), "no space left") != 1 || !strings.Contains(last, "free some space") {
			t.Errorf("%v: exit %d, %q", args, code, stderr.String())
		}
	}

	// --output that cannot be written ends the evaluation with one line too.
	got := vlmtool("eval", "--model", model, "--data", file, "--device", "cpu", "--output", "/dev/full")
	if got.code != cli.ExitFailed || strings.Count(got.stderr, "no space left") != 1 {
		t.Errorf("--output: %+v", got)
	}
}
