package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
)

// TestTerminalSafe writes escape sequences in every way that text reaches a terminal; none
// may arrive unescaped.
func TestTerminalSafe(t *testing.T) {
	const hostile = "x\x1b[2J\u009b1m\x07"
	ways := map[string]func(out *bytes.Buffer){
		"a log line": func(out *bytes.Buffer) {
			slog.New(terminal.NewLogHandler(out, slog.LevelInfo)).Info(hostile, "file", hostile)
		},
		"a result in JSON": func(out *bytes.Buffer) {
			a := &cli.App{Stdout: out}
			require.NoError(t, a.Result(map[string]string{"text": hostile}))
			var back map[string]string
			if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["text"] != hostile {
				t.Errorf("%q reads back as %q, %v", out, back, err)
			}
		},
		"an error": func(out *bytes.Buffer) {
			run(context.Background(), []string{"infer", "--model", hostile, "--prompt", "a", "--device", "cpu"}, out, out)
		},
		"an unknown path": func(out *bytes.Buffer) { run(context.Background(), []string{"inspect", hostile}, out, out) },
		"an import": func(out *bytes.Buffer) {
			run(context.Background(), []string{"data", "import", hostile, "--out", t.TempDir()}, out, out)
		},
		"an unknown command": func(out *bytes.Buffer) { run(context.Background(), []string{hostile}, out, out) },
	}
	for way, write := range ways {
		var out bytes.Buffer
		if write(&out); out.Len() == 0 || strings.ContainsAny(out.String(), "\x1b\x07\u009b") {
			t.Errorf("%s: %q", way, out.String())
		}
	}
}
