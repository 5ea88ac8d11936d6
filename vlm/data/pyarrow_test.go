package data

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestPyarrow opens files in the forms that Hugging Face's datasets and pyarrow write:
// what holds pictures is read, or refused by its name.
func TestPyarrow(t *testing.T) {
	const picture, noBytes = "use 1", "skip image 1 has no bytes"
	for _, c := range []struct {
		file string
		rows int    // that there are
		want string // what becomes of the first three rows, or
		err  string
	}{
		{"image", 3, picture + ", use 0, " + noBytes, ""},
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
		{"utf16", 3, "skip a text is full of NUL bytes, as one in UTF-16 is, use 0, use 0", ""},
		{"image_string", 0, "", "the column image is of type STRING, not a list of structs with bytes, nor one struct or binary value"},
		{"image_path", 0, "", "the column image_path names pictures, which are not in the file"},
		{"two", 0, "", "the columns image and images both hold pictures"},
		{"scan", 0, "", "the column scan holds files, which are not read"},
		{"audio", 0, "", "the column audio holds files, which are not read"},
		{"encrypted", 0, "", "an encrypted parquet file"},
		{"encrypted_columns", 0, "", "encrypted columns"},
	} {
		t.Run(c.file, func(t *testing.T) {
			d, err := Open([]string{filepath.Join("testdata", "pyarrow", c.file+".parquet")})
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

// What stands for a picture in other tools' data makes no row of text.
func TestLostPicture(t *testing.T) {
	for _, c := range []struct {
		question string
		images   int
		reason   string
	}{
		{"<image>\nwhat?", 0, "a question holds <image>, and the row no picture"},
		{"<|vision_start|><|image_pad|><|vision_end|>what?", 0, "a question holds <|vision_start|>, and the row no picture"},
		{"<img>a.png</img> what?", 0, "a question holds <img>a.png</img>, and the row no picture"},
		{"<image>\nwhat?", 1, ""},
		{"what does <img src=a.png> do?", 0, ""},
		{"what?", 0, ""},
	} {
		r := Row{Turns: []Turn{{c.question, "an answer"}}}
		for range c.images {
			r.Images = append(r.Images, []byte("x"))
		}
		if v := CheckTexts(r); v.Reason != c.reason {
			t.Errorf("%q with %d pictures: %q, want %q", c.question, c.images, v.Reason, c.reason)
		}
	}
}

func TestPictured(t *testing.T) {
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
		d, err := Open(files)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.HasImages(d.Len()); got != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", c.files, got, err, c.want)
		}
	}
}
