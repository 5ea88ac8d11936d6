package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPage measures one image against a peer that answers a fixed time, and rejects peers
// whose answers are wrong.
func TestPage(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		m.Set(i%4, i/4, color.NRGBA{200, 100, 50, 255})
	}
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "one.png")
	if err := os.WriteFile(source, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := crc32.ChecksumIEEE(bytes.Repeat([]byte{200, 100, 50}, 4))
	for _, c := range []struct{ answer, want, err string }{
		{fmt.Sprintf(`{"ms": 4, "crc32": %d}`, sum), "| one.png | 0 | 2×2 | ", ""},
		{fmt.Sprintf(`{"ms": 4, "crc32": %d}`, sum+1), "", "pixels differ"},
		{`{"ms": 0}`, "", "want {"},
		{`{"error": "no such form"}`, "", "no such form"},
	} {
		script := fmt.Sprintf(`if [ "$0" = make ]; then cp %s "$1"; else while read line; do echo '%s'; done; fi`, source, c.answer)
		var out strings.Builder
		err := run(t.Context(), &out, options{turns: 1, peer: "Other", sizes: []int{2}, command: []string{"sh", "-c", script}})
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.answer, err, c.err)
		}
		if text := out.String(); !strings.Contains(text, c.want) || c.want != "" && !strings.Contains(text, "| 250 |") {
			t.Errorf("%s: wrote %s", c.answer, text)
		}
	}
	if err := run(t.Context(), &strings.Builder{}, options{turns: 1}); err == nil {
		t.Error("no command was accepted")
	}
}
