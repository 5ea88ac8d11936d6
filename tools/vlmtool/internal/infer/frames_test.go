package infer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
)

func TestReadFrames(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ text, want string }{
		{`{"image": "a.jpg", "time": 0}` + "\n\n" + `{"image": "/x/b.png", "time": 2.5}` + "\n", ""},
		{"", "has no frames"},
		{"[]", "line 1"},
		{`{"image": "a.jpg"}`, "line 1: it has no time in seconds"},
		{`{"image": "a.jpg", "time": -1}`, "line 1: it has no time in seconds"},
		{`{"time": 1}`, "line 1: it names no image"},
		{`{"image": "a.jpg", "time": 1, "fps": 2}`, `line 1: "{\"image\": \"a.jpg\"`},
		{`{"image": "a.jpg", "time": 1} {}`, "line 1"},
		{`{"image": "a.jpg", "time": 1}` + "\n" + `{"image": "b.jpg", "time": 0.5}`, "line 2: its time 0.5 is before the previous frame's"},
	} {
		file := filepath.Join(dir, "frames.jsonl")
		require.NoError(t, os.WriteFile(file, []byte(c.text), 0o644))
		frames, err := readFrames(file)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
		if c.want == "" && (len(frames) != 2 || frames[0].Image != filepath.Join(dir, "a.jpg") || frames[1].Image != "/x/b.png" || fmt.Sprint(*frames[0].Time, *frames[1].Time) != "0 2.5") {
			t.Errorf("%q: %+v", c.text, frames)
		}
	}
}
