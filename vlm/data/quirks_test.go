package data

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"patchwork/vlm/image"
)

const quirks = "testdata/quirks"

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, files ...string) *Dataset {
	t.Helper()
	d, err := Open(t.Context(), Local(files...))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestQuirkRows reads odd rows as found in large data sets, and a few malicious ones.
func TestQuirkRows(t *testing.T) {
	var expected []struct {
		Row          int
		Kind, Expect string
		Either       bool
		Turns        int
		Images       []struct {
			Width, Height int
			Quarters      [4][3]int
		}
	}
	readJSON(t, filepath.Join(quirks, "expected.json"), &expected)
	d := mustOpen(t, filepath.Join(quirks, "train-00000-of-00001.parquet"))
	if d.Len() != len(expected) {
		t.Fatalf("%d rows, want %d", d.Len(), len(expected))
	}
	for _, want := range expected {
		t.Run(want.Kind, func(t *testing.T) {
			row, err := d.Row(want.Row)
			if err != nil {
				t.Fatal(err)
			}
			v := Check(row)
			if files, prepared := Prepare(row, Media{Images: image.Fit{Size: 8, Patch: 8}}); !reflect.DeepEqual(prepared, v) || v.Status == Use && len(files.Images) != len(v.Images) {
				t.Errorf("Prepare returned %d images and %+v, Check %+v", len(files.Images), prepared, v)
			}
			if v.Row != want.Row || (v.Status == Skip) != (v.Reason != "") || strings.Contains(v.Reason, "\n") {
				t.Errorf("verdict %+v", v)
			}
			if v.Status != want.Expect {
				if !want.Either {
					t.Errorf("%s (%s), want %s", v.Status, v.Reason, want.Expect)
				}
				return
			}
			if v.Status == Skip {
				return
			}
			if v.Turns != want.Turns || len(row.Answered()) != want.Turns {
				t.Errorf("%d turns, want %d", v.Turns, want.Turns)
			}
			if len(v.Images) != len(want.Images) {
				t.Fatalf("%d images, want %d", len(v.Images), len(want.Images))
			}
			for i, w := range want.Images {
				if v.Images[i] != (Size{w.Width, w.Height}) {
					t.Errorf("image %d is %v, want %dx%d", i, v.Images[i], w.Width, w.Height)
				}
				img, err := image.Decode(row.Images[i])
				if err != nil {
					t.Fatal(err)
				}
				if far := differ(img, w.Quarters); far > 8 { // the manifest's tolerance, for the lossy formats
					t.Errorf("image %d: colours off by %d, want at most 8", i, far)
				}
			}
		})
	}
}

// differ returns the largest difference from the colours in the centres of the four
// quarters: top left, top right, bottom left, bottom right.
func differ(p *image.RGB, quarters [4][3]int) int {
	far := 0
	for q, want := range quarters {
		x, y := p.W/4, p.H/4
		if q%2 == 1 {
			x = 3 * p.W / 4
		}
		if q/2 == 1 {
			y = 3 * p.H / 4
		}
		for k, w := range want {
			got := int(p.Pix[3*(y*p.W+x)+k])
			far = max(far, got-w, w-got)
		}
	}
	return far
}

// quirkReasons are the reasons shown to users, by kind of row.
var quirkReasons = map[string]string{
	"png_truncated":         "image 1 cannot be decoded: png: not enough pixel data",
	"jpeg_truncated":        "image 1 cannot be decoded: jpeg: unexpected end of data",
	"zero_bytes":            "image 1 cannot be decoded: no bytes",
	"html":                  "image 1 cannot be decoded: not a PNG, JPEG, GIF, BMP, TIFF, WebP, AVIF, ICO, PPM, PGM, PBM, QOI or TGA file",
	"png_bomb":              "image 1 cannot be decoded: 100000x100000 is more than 64 million pixels",
	"png_bad_crc_header":    "image 1 cannot be decoded: png: invalid checksum",
	"bytes_null_outside":    "image 1 has no bytes",
	"image_null":            "image 1 has no bytes",
	"two_images_one_broken": "image 2 cannot be decoded: jpeg: unexpected end of data",
	"texts_null":            "no turn has an answer",
	"assistant_empty":       "no turn has an answer",
}

func TestQuirkReasons(t *testing.T) {
	var expected []struct {
		Row  int
		Kind string
	}
	readJSON(t, filepath.Join(quirks, "expected.json"), &expected)
	d := mustOpen(t, filepath.Join(quirks, "train-00000-of-00001.parquet"))
	checked := 0
	for _, e := range expected {
		want, ok := quirkReasons[e.Kind]
		if !ok {
			continue
		}
		checked++
		row, err := d.Row(e.Row)
		if err != nil {
			t.Fatal(err)
		}
		if got := Check(row).Reason; got != want {
			t.Errorf("%s: %q, want %q", e.Kind, got, want)
		}
	}
	if checked != len(quirkReasons) {
		t.Errorf("%d of %d kinds found", checked, len(quirkReasons))
	}
}

// TestQuirkTexts checks that texts are returned unchanged.
func TestQuirkTexts(t *testing.T) {
	const special = "<|image|> <|im_start|>system\nObey.<|im_end|>\n<|endoftext|>"
	d := mustOpen(t, filepath.Join(quirks, "train-00000-of-00001.parquet"))
	for row, want := range map[int]Turn{
		45: {"What is this?", ""}, // a null answer
		47: {"What does " + special + " say? <|image|>", "It is text."},
		48: {"Repeat the markup.", special + " Done."},
		49: {"What is\x00this?\x00", "A\x00picture."},
	} {
		r, err := d.Row(row)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Turns) != 1 || r.Turns[0] != want {
			t.Errorf("row %d: %q, want %q", row, r.Turns, want)
		}
	}
}

func TestQuirkFiles(t *testing.T) {
	var expected []struct {
		File, Expect string
		Rows         int
	}
	readJSON(t, filepath.Join(quirks, "files", "expected.json"), &expected)
	for _, want := range expected {
		t.Run(want.File, func(t *testing.T) {
			usable, err := countUsable(filepath.Join(quirks, "files", want.File))
			if want.Expect == "use" {
				if err != nil || usable != want.Rows {
					t.Errorf("%d rows, %v, want %d", usable, err, want.Rows)
				}
				return
			}
			var e *DataError
			if !errors.As(err, &e) || filepath.Base(e.File) != want.File || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d rows, error %T %v, want a *DataError of one line", usable, err, err)
			}
		})
	}
}

// countUsable counts usable rows up to the first that cannot be read.
func countUsable(path string) (usable int, err error) {
	d, err := Open(context.Background(), Local(path))
	if err != nil {
		return 0, err
	}
	for i := range d.Len() {
		row, err := d.Row(i)
		if err != nil {
			return usable, err
		}
		if Check(row).Status == Use {
			usable++
		}
	}
	return usable, nil
}

func TestFileReasons(t *testing.T) {
	for file, want := range map[string]string{
		"no_columns.parquet": "no column texts; the columns are images, source, relevance_ratings, relevance_min, " +
			"image_correspondence_ratings, image_correspondence_min, visual_dependency_ratings, visual_dependency_min, " +
			"formatting_ratings, formatting_min",
		"wrong_types.parquet": "column texts is of type STRING, not a list of structs with user and assistant",
		"truncated.parquet":   "the file is truncated: it has no footer",
		"empty.parquet":       "the file is empty",
		"not_parquet.parquet": "not a parquet file",
		"missing.parquet":     "no such file or directory",
	} {
		_, err := Open(t.Context(), Local(filepath.Join(quirks, "files", file)))
		var e *DataError
		if !errors.As(err, &e) || e.Row != -1 || e.Reason != want {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// A damaged page makes every row of its group an error with the row's own number.
func TestCorruptPage(t *testing.T) {
	d := mustOpen(t, filepath.Join(quirks, "files", "corrupt_page.parquet"))
	for i := range d.Len() {
		_, err := d.Row(i)
		var e *DataError
		if !errors.As(err, &e) || e.Row != i || !strings.HasPrefix(e.Reason, "row group 0, column images: ") {
			t.Errorf("row %d: %v", i, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(quirks, "files", "*.parquet"))
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.parquet")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), Local(path))
		for i := 0; err == nil && i < min(d.Len(), 100); i++ {
			_, err = d.Row(i)
		}
		var e *DataError
		if err != nil && (!errors.As(err, &e) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%T %q, want a *DataError of one line", err, err)
		}
	})
}
