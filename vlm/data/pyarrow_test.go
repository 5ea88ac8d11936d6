package data

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestPyarrow opens files as Hugging Face datasets and pyarrow write them. A column of
// images is read, or the error names it.
func TestPyarrow(t *testing.T) {
	const noBytes = "skip image 1 has no bytes"
	const noSound = "skip clip 1 cannot be decoded: not a sound file that is read: WAV, FLAC, MP3 or Ogg Vorbis"
	for _, c := range []struct {
		file string
		rows int
		want string // verdicts on the first three rows, or
		err  string
	}{
		{"image", 3, "use 1, use 0, " + noBytes, ""},
		{"Images", 3, "use 1, use 1, use 1", ""},
		{"image_binary", 3, "use 1, use 0, use 1", ""},
		{"image_large_binary", 3, "use 1, use 0, use 1", ""},
		{"list_binary", 3, "use 2, use 0, use 0", ""},
		{"dict_feature", 3, "use 1, use 1, use 1", ""},
		{"ratings", 3, "use 1, use 1, use 1", ""},
		{"none", 3, "use 0, use 0, use 0", ""},
		{"null", 3, "use 0, use 0, use 0", ""},
		{"null_list", 3, "use 0, use 0, use 0", ""},
		{"null_entries", 3, noBytes + ", " + noBytes + ", " + noBytes, ""},
		{"repeated", 3000, "use 1, use 1, use 1", ""},
		{"text_rows", 40_000, "use 0, use 0, use 0", ""},
		{"latin1", 3, "use 0, skip a text is not in UTF-8, use 0", ""},
		{"utf16", 3, "skip a text is full of NUL bytes (UTF-16?), use 0, use 0", ""},
		{"image_string", 0, "", "column image is of type STRING, not a list of structs with bytes, a struct with bytes, or a binary value"},
		{"image_path", 0, "", "column image_path holds image paths, but the images are not in the file"},
		{"two", 0, "", "columns image and images both hold images"},
		{"scan", 0, "", "column scan holds files, which are not read"},
		{"audio", 3, noSound + ", " + noSound + ", " + noSound, ""},
		{"encrypted", 0, "", "encrypted parquet files"},
		{"encrypted_columns", 0, "", "encrypted columns"},
	} {
		t.Run(c.file, func(t *testing.T) {
			d, err := Open(t.Context(), Local(filepath.Join("testdata", "pyarrow", c.file+".parquet")))
			if c.err != "" {
				var e *DataError
				if !errors.As(err, &e) || e.Row != -1 || !strings.Contains(e.Reason, c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range d.Len() {
				r, err := d.Row(i)
				if err != nil {
					t.Fatal(err)
				}
				v := Check(r)
				if i >= 3 {
					continue
				}
				if v.Status == Use {
					got = append(got, fmt.Sprintf("use %d", len(v.Images)))
				} else {
					got = append(got, v.Status+" "+v.Reason)
				}
			}
			if s := strings.Join(got, ", "); s != c.want || d.Len() != c.rows {
				t.Errorf("%d rows: %s; want %d: %s", d.Len(), s, c.rows, c.want)
			}
		})
	}
}

// A row without images whose question has an image placeholder is skipped.
func TestPlaceholderWithoutImage(t *testing.T) {
	for _, c := range []struct {
		question string
		images   int
		reason   string
	}{
		{"<image>\nwhat?", 0, "a question has the placeholder <image>, but the row has no image"},
		{"<|vision_start|><|image_pad|><|vision_end|>what?", 0, "a question has the placeholder <|vision_start|>, but the row has no image"},
		{"<img>a.png</img> what?", 0, "a question has the placeholder <img>a.png</img>, but the row has no image"},
		{"<image>\nwhat?", 1, ""},
		{"what does <img src=a.png> do?", 0, ""},
		{"what?", 0, ""},
	} {
		r := Row{Turns: []Turn{{c.question, "an answer"}}}
		for range c.images {
			r.Images = append(r.Images, []byte("x"))
		}
		if v := CheckTexts(r); v.Reason != c.reason {
			t.Errorf("%q with %d images: %q, want %q", c.question, c.images, v.Reason, c.reason)
		}
	}
}

func TestHasImages(t *testing.T) {
	for _, c := range []struct {
		files string
		want  bool
	}{
		{"text_rows", false}, {"none", false}, {"null", false}, {"null_list", false},
		{"image", true}, {"Images", true}, {"text_rows none", false}, {"none repeated", true}, {"text_rows image", true},
	} {
		var files []string
		for _, name := range strings.Fields(c.files) {
			files = append(files, filepath.Join("testdata", "pyarrow", name+".parquet"))
		}
		d, err := Open(t.Context(), Local(files...))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.HasImages(d.Len()); got != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", c.files, got, err, c.want)
		}
	}
}
