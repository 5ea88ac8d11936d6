package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/importer"
)

// dot returns a PNG of one colour, identified by its width.
func dot(t testing.TB, width int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, width, 3))
	for i := range m.Pix {
		m.SetGray(i%width, i/width, color.Gray{128})
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// tree writes files; "pic 5" stands for an image of width 5.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		content := []byte(text)
		var width int
		if n, _ := fmt.Sscanf(text, "pic %d", &width); n == 1 {
			content = dot(t, width)
		}
		require.NoError(t, os.WriteFile(path, content, 0o644))
	}
	return dir
}

// describe returns the widths of a row's images, and its turns.
func describe(t testing.TB, r data.Row) string {
	t.Helper()
	v := data.Check(r)
	var out []string
	for _, size := range v.Images {
		out = append(out, fmt.Sprint(size.Width))
	}
	for _, turn := range r.Turns {
		out = append(out, turn.User+"="+turn.Assistant)
	}
	return strings.Join(out, " ")
}

func rows(t testing.TB, files ...string) (out []string) {
	t.Helper()
	set, err := data.Open(t.Context(), data.Local(files...))
	require.NoError(t, err)
	for i := range set.Len() {
		r, err := set.Row(i)
		require.NoError(t, err)
		out = append(out, describe(t, r))
	}
	return out
}

func TestImport(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		from    string // in the folder
		want    []string
		skipped []string
	}{
		{"captions", map[string]string{"a.png": "pic 4", "a.txt": "\uFEFFa cat\n", "sub/b.PNG": "pic 5", "sub/b.txt": "a dog", ".hidden/c.png": "pic 6", ".hidden/c.txt": "no"},
			"", []string{"4 Q=a cat", "5 Q=a dog"}, nil},
		{"missing captions", map[string]string{"a.png": "pic 4", "a.txt": "a cat", "b.png": "pic 5", "c.png": "pic 6", "c.txt": " \n", "d.png": "no image", "d.txt": "d"},
			"", []string{"4 Q=a cat"}, []string{"no caption", "the caption is empty", "not a PNG"}},
		{"ImageFolder's metadata.jsonl", map[string]string{"a.png": "pic 4", "b.png": "pic 5", "metadata.jsonl": `{"file_name": "a.png", "text": "a cat"}` + "\n\n" + `{"file_name": "b.png", "text": "a dog"}`},
			"", []string{"4 Q=a cat", "5 Q=a dog"}, nil},
		{"ImageFolder's metadata.csv", map[string]string{"train/a.png": "pic 4", "metadata.csv": "file_name,text\r\ntrain/a.png,\"a cat, \"\"asleep\"\"\nand a bowl\"\r\n"},
			"", []string{"4 Q=a cat, \"asleep\"\nand a bowl"}, nil},
		{"questions in a TSV", map[string]string{"a.png": "pic 4", "b.png": "pic 5", "list.tsv": "image\tquestion\tanswer\na.png\twhat?\ta \"cat\nb.png\twhat?\ta dog\na.png\tcolour?\tgrey\n"},
			"list.tsv", []string{`4 what?=a "cat colour?=grey`, "5 what?=a dog"}, nil},
		{"LLaVA's conversations", map[string]string{"i/a.png": "pic 4", "list.json": `[{"id": 1, "image": "i/a.png", "conversations": [
			{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "a cat"}, {"from": "human", "value": "sure?"}, {"from": "gpt", "value": "yes"}]}]`},
			"list.json", []string{"4 what?=a cat sure?=yes"}, nil},
		{"OpenAI's messages", map[string]string{"a.png": "pic 4", "b.png": "pic 5", "list.jsonl": `{"messages": [{"role": "system", "content": "be kind"},
			{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "image_url", "image_url": {"url": "file://b.png"}}, {"type": "text", "text": "differ?"}]},
			{"role": "assistant", "content": "by one"}]}`},
			"list.jsonl", nil, []string{"not a JSON object", "not a JSON object", "not a JSON object"}},
		{"OpenAI's messages on a line", map[string]string{"a.png": "pic 4", "b.png": "pic 5", "list.jsonl": `{"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "image_url", "image_url": {"url": "file://b.png"}}, {"type": "text", "text": "differ?"}]}, {"role": "assistant", "content": "by one"}]}`},
			"list.jsonl", []string{"4 5 differ?=by one"}, nil},
		{"text alone", map[string]string{"list.jsonl": `{"question": "two?", "answer": "2"}` + "\n" + `{"question": "three?", "answer": "3"}`},
			"list.jsonl", []string{"two?=2", "three?=3"}, nil},
		{"bad records", map[string]string{"a.png": "pic 4", "list.jsonl": strings.Join([]string{
			`{"image": "a.png", "text": "a cat"}`, `{"image": "b.png", "text": "gone"}`, `{"image": "../a.png", "text": "outside"}`, `{"image": 3, "text": "number"}`,
			`{"image": "a.png"}`, `{"image": "a.png", "text": [7]}`, `[]`, `{"image": "a.png", "conversations": [{"from": "cat", "value": "miaow"}]}`,
			`{"image": "a.png", "messages": "hello"}`, `{"image": "a.png", "answer": " "}`, `{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]}`,
			`{"image": "/etc/hostname", "text": "no image"}`, `{"image": "a.png", "question": "\ud800?", "answer": "lone"}`}, "\n")},
			"list.jsonl", []string{"4 Q=a cat \uFFFD?=lone"}, []string{"no such image", "leads out of the folder", "does not name an image", "no text", "text is not text", "not a JSON object", `the role "cat"`, "is not a list", "no turn has an answer", "not a file", "leads out of the folder"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, out := tree(t, c.files), filepath.Join(t.TempDir(), "out")
			var skipped []string
			r, err := importer.Import(context.Background(), importer.Options{
				Paths: []string{filepath.Join(dir, c.from)}, Out: out, Prompts: []string{"Q"},
				Skipped: func(s importer.Skipped) { skipped = append(skipped, s.Reason) },
			})
			if len(c.want) == 0 {
				var source *importer.SourceError
				if !errors.As(err, &source) {
					t.Errorf("%v, want a *SourceError", err)
				}
			} else {
				require.NoError(t, err)
				if got := rows(t, r.Files...); !slices.Equal(got, c.want) {
					t.Errorf("rows %q, want %q", got, c.want)
				}
			}
			if len(skipped) != len(c.skipped) || r.Skipped != len(skipped) {
				t.Fatalf("skipped %q, want %q", skipped, c.skipped)
			}
			for i := range skipped {
				if !strings.Contains(skipped[i], c.skipped[i]) {
					t.Errorf("skipped for %q, want %q", skipped[i], c.skipped[i])
				}
			}
		})
	}
}

// Images are stored as the bytes of their files.
func TestImportKeepsBytes(t *testing.T) {
	dir, out := tree(t, map[string]string{"a.png": "pic 9", "a.txt": "a"}), filepath.Join(t.TempDir(), "out")
	r, err := importer.Import(context.Background(), importer.Options{Paths: []string{dir}, Out: out})
	require.NoError(t, err)
	set, err := data.Open(t.Context(), data.Local(r.Files...))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	if !bytes.Equal(row.Images[0], dot(t, 9)) || row.Turns[0].User != importer.DefaultPrompt {
		t.Errorf("%d bytes and %q", len(row.Images[0]), row.Turns)
	}
}

func TestImportSplits(t *testing.T) {
	files := map[string]string{}
	for i := range 25 {
		files[fmt.Sprintf("%02d.png", i)] = fmt.Sprintf("pic %d", i+1)
		files[fmt.Sprintf("%02d.txt", i)] = fmt.Sprint(i)
	}
	dir, parent := tree(t, files), t.TempDir()
	o := importer.Options{Paths: []string{dir}, Out: filepath.Join(parent, "a"), Prompts: []string{"A", "B"}, TestFraction: 0.2, ShardRows: 8}
	a, err := importer.Import(context.Background(), o)
	require.NoError(t, err)
	o.Out = filepath.Join(parent, "b")
	b, err := importer.Import(context.Background(), o)
	require.NoError(t, err)
	if a.Rows != 20 || a.TestRows != 5 || len(a.Files) != 4 || filepath.Base(a.Files[2]) != "train-00002-of-00003.parquet" {
		t.Errorf("%+v", a)
	}
	if x, y := rows(t, a.Files...), rows(t, b.Files...); !slices.Equal(x, y) {
		t.Errorf("the same seed gave %q and %q", x, y)
	} else if all := strings.Join(x, " "); !strings.Contains(all, "A=") || !strings.Contains(all, "B=") {
		t.Errorf("one prompt alone: %q", x)
	}
	if _, err := importer.Import(context.Background(), o); !errors.Is(err, importer.ErrNotEmpty) {
		t.Errorf("a folder that is not empty: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 2 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// Links inside the folder are followed, those that lead out of it are not.
func TestImportLinks(t *testing.T) {
	outside := tree(t, map[string]string{"x.png": "pic 7"})
	dir := tree(t, map[string]string{"a.png": "pic 4", "a.txt": "a", "b.txt": "b", "c.txt": "c", "list.jsonl": ""})
	require.NoError(t, os.Remove(filepath.Join(dir, "list.jsonl")))
	require.NoError(t, os.Symlink("a.png", filepath.Join(dir, "b.png")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "x.png"), filepath.Join(dir, "c.png")))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "loop")))
	r, err := importer.Import(context.Background(), importer.Options{Paths: []string{dir}, Out: filepath.Join(t.TempDir(), "out"), Prompts: []string{"Q"}})
	require.NoError(t, err)
	if got, want := rows(t, r.Files...), []string{"4 Q=a", "4 Q=b"}; !slices.Equal(got, want) || r.Skipped != 1 {
		t.Errorf("%q and %d skipped, want %q and 1", got, r.Skipped, want)
	}
}

func TestImportSources(t *testing.T) {
	dir := tree(t, map[string]string{"empty/x": "", "two/a.csv": "", "two/b.csv": "", "columns.csv": "name,age\n", "broken.json": "[{", "text.md": "x", "empty.jsonl": ""})
	for path, want := range map[string]string{
		"nowhere": "no such file", "empty": "contains no image", "two": "several lists", "columns.csv": `the columns are ["name" "age"]`, "broken.json": "entry 1",
		"text.md": "not a folder, a list", "empty.jsonl": "the list is empty",
	} {
		out := filepath.Join(t.TempDir(), "out")
		_, err := importer.Import(context.Background(), importer.Options{Paths: []string{filepath.Join(dir, path)}, Out: out})
		var source *importer.SourceError
		if !errors.As(err, &source) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: %s was left", path, out)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add(".jsonl", []byte(`{"file_name": "a.png", "text": "a"}`))
	f.Add(".jsonl", []byte(`{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": "b"}]}`))
	f.Add(".json", []byte(`[{"image": "a.png", "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "\ud800"}]}]`))
	f.Add(".csv", []byte("image,question,answer\na.png,\"b\nc\",d\n"))
	f.Add(".tsv", []byte("image\tcaption\na.png\tb\"\n"))
	f.Add(".json", []byte("{\"image\": \"a.png\", \"text\": \"x\", \"n\": [NaN, -Infinity]}\n"))
	f.Add(".jsonl", []byte(`{"messages": [{"role": "user", "content": "<img>a.png</img><image 2>![](b.png)"}, {"role": "assistant", "content": "b"}]}`))
	f.Add(".csv", []byte("\xff\xfei\x00m\x00a\x00g\x00e\x00,\x00t\x00e\x00x\x00t\x00\n\x00a\x00.\x00p\x00n\x00g\x00,\x00x\x00"))
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.png"), dot(f, 3), 0o644); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ext string, list []byte) {
		if !slices.Contains([]string{".jsonl", ".json", ".csv", ".tsv"}, ext) {
			return
		}
		path, out := filepath.Join(dir, "list"+ext), filepath.Join(dir, "out")
		require.NoError(t, os.WriteFile(path, list, 0o644))
		r, err := importer.Import(context.Background(), importer.Options{Paths: []string{path}, Out: out})
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
		if err == nil && len(rows(t, r.Files...)) != r.Rows {
			t.Errorf("%d rows, want %d", len(rows(t, r.Files...)), r.Rows)
		}
		require.NoError(t, os.RemoveAll(out))
	})
}
