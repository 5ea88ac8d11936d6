package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/data"
)

// startServe starts vlmtool serve on a free port. stop ends it and returns its exit code.
func startServe(t *testing.T, args ...string) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	code := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		code <- run(ctx, append([]string{"serve", "--listen", "0", "--device", "cpu", "--json"}, args...), to, &stderr)
		to.Close()
	}()
	var started struct{ URL, Model, Device string }
	if err := json.NewDecoder(from).Decode(&started); err != nil || started.Model == "" || started.Device != "cpu" {
		t.Fatalf("serve: %+v, %v: %s", started, err, stderr.String())
	}
	go io.Copy(io.Discard, from)
	return started.URL, func() int {
		cancel()
		return <-code
	}
}

// ask posts a request and returns the answer's text and its finish reason.
func ask(t *testing.T, url string, request map[string]any) (text, finish string) {
	t.Helper()
	body, err := json.Marshal(request)
	require.NoError(t, err)
	response, err := http.Post(url+"v1/chat/completions", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer response.Body.Close()
	var got struct {
		Choices []struct {
			Message      struct{ Content string }
			FinishReason string `json:"finish_reason"`
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil || response.StatusCode != 200 || len(got.Choices) != 1 {
		t.Fatalf("%s: %s, %v", body, response.Status, err)
	}
	return got.Choices[0].Message.Content, got.Choices[0].FinishReason
}

// TestServe: the answers of serve are those of infer, greedy and with a seed, and an interrupt ends it.
func TestServe(t *testing.T) {
	model, file := smallRun(t)
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	picture := filepath.Join(t.TempDir(), "p.png")
	require.NoError(t, os.WriteFile(picture, row.Images[0], 0o644))
	url, stop := startServe(t, "--model", model)
	part := map[string]any{"type": "image_url", "image_url": map[string]any{"url": "data:image/png;base64," + base64.StdEncoding.EncodeToString(row.Images[0])}}
	for _, question := range []string{"what color is the shape?", "is there a red shape?"} {
		for _, sampled := range []bool{false, true} {
			args := []string{"infer", "--model", model, "--device", "cpu", "--image", picture, "--prompt", question, "--max-new-tokens", "10", "--json"}
			request := map[string]any{"max_tokens": 10, "temperature": 0, "messages": []any{map[string]any{"role": "user", "content": []any{part, map[string]any{"type": "text", "text": question}}}}}
			if sampled {
				args = append(args, "--temperature", "1", "--seed", "7")
				request["temperature"], request["seed"] = 1, 7
			}
			var want struct {
				Text         string
				FinishReason string `json:"finish_reason"`
			}
			require.NoError(t, json.Unmarshal([]byte(vlmtool(args...).stdout), &want))
			if text, finish := ask(t, url, request); text != strings.TrimLeft(want.Text, "\n") || finish != want.FinishReason {
				t.Errorf("%s: %q, %s; infer gives %q, %s", question, text, finish, want.Text, want.FinishReason)
			}
		}
	}
	if code := stop(); code != cli.ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("it is served after its end")
	}
	serveMistakes(t, model)
}

// serveMistakes: each gives one line, and the right exit code.
func serveMistakes(t *testing.T, model string) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		message string
	}{
		{"no model", nil, 2, "--model is missing"},
		{"a missing model", []string{"--model", "nowhere"}, 1, "nowhere"},
		{"no address", []string{"--model", model, "--listen", "here"}, 2, "127.0.0.1:8080"},
		{"a port in use", []string{"--model", model, "--listen", listener.Addr().String()}, 1, "use another port"},
		{"no parallel", []string{"--model", model, "--parallel", "0"}, 2, "--parallel"},
		{"a negative queue", []string{"--model", model, "--queue", "-1"}, 2, "--queue"},
		{"a short context", []string{"--model", model, "--context", "1"}, 2, "--context"},
		{"no key file", []string{"--model", model, "--api-key-file", filepath.Join(dir, "none")}, 1, "--api-key-file"},
		{"no keys", []string{"--model", model, "--api-key-file", write("empty", "\n \n")}, 1, "has no key"},
		{"a key with a space", []string{"--model", model, "--api-key-file", write("space", "a\nmy key\n")}, 1, "line 2"},
		{"tokens of images", []string{"--model", model, "--image-tokens", "5"}, 2, "--image-tokens"},
	} {
		args := append([]string{"serve", "--device", "cpu"}, c.args...)
		if got := vlmtool(args...); got.code != c.code || got.stdout != "" || !strings.Contains(got.stderr, c.message) || strings.Count(got.stderr, "\n") > 3 {
			t.Errorf("%s: %+v, want %d, %q", c.name, got, c.code, c.message)
		}
	}
}
