package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a cat, été 猫 \U0001f44d\u200d": "a cat, été 猫 \U0001f44d\u200d",
		"\x1b[2J\x1b]0;title\a":         `\x1b[2J\x1b]0;title\x07`,
		"a\nb\tc\r":                     `a\x0ab\x09c\x0d`,
		"\u009b31m":                     `\u009b31m`,
		"\x9b31m \xff":                  `\x9b31m \xff`,
		"a\u202etxt.exe\u2066":          `a\u202etxt.exe\u2066`,
		"\u200f(red)\u200e \uFFFD":      "\u200f(red)\u200e \uFFFD",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := printableText("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("%q", got)
	}
}

// Whatever way a text takes to a terminal, nothing of it is obeyed there.
func TestTerminalSafe(t *testing.T) {
	const hostile = "x\x1b[2J\u009b1m\x07"
	ways := map[string]func(out *bytes.Buffer){
		"a model's answer": func(out *bytes.Buffer) {
			s := shower{out: out}
			s.piece(hostile)
			s.end("")
		},
		"a log line": func(out *bytes.Buffer) { slog.New(newLineHandler(out, slog.LevelInfo)).Info(hostile, "file", hostile) },
		"a result in JSON": func(out *bytes.Buffer) {
			a := &app{stdout: out}
			must(t, a.result(map[string]string{"text": hostile}))
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
		"an unknown thing": func(out *bytes.Buffer) { run(context.Background(), []string{hostile}, out, out) },
	}
	for way, write := range ways {
		var out bytes.Buffer
		if write(&out); out.Len() == 0 || strings.ContainsAny(out.String(), "\x1b\x07\u009b") {
			t.Errorf("%s: %q", way, out.String())
		}
	}
}
