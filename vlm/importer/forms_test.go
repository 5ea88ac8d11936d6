package importer_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"patchwork/internal/require"
	"patchwork/vlm/importer"
)

// outcome is the result of an import: rows as by describe, reasons of skipped entries,
// notes, and the error.
type outcome struct {
	rows, skipped, notes []string
	result               importer.Result
	err                  error
}

func imported(t testing.TB, o importer.Options) (got outcome) {
	t.Helper()
	if o.Out == "" {
		o.Out = filepath.Join(t.TempDir(), "out")
	}
	if o.Prompts == nil {
		o.Prompts = []string{"Q"}
	}
	o.Skipped = func(s importer.Skipped) { got.skipped = append(got.skipped, s.Reason) }
	o.Note = func(s string) { got.notes = append(got.notes, s) }
	got.result, got.err = importer.Import(context.Background(), o)
	if got.err == nil {
		got.rows = rows(t, got.result.Files...)
	}
	return got
}

// checkContains checks that each string contains the corresponding wanted one.
func checkContains(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: %q, want %q", what, got[i], want[i])
		}
	}
}

// The images of a record are read, or the record is skipped with a reason that names the
// field. It never becomes a text-only row.
func TestRecordsWithImages(t *testing.T) {
	url := "data:image/png;base64," + base64.StdEncoding.EncodeToString(dot(t, 6))
	for _, c := range []struct {
		record string
		row    string // or
		reason string
	}{
		// Fields.
		{`{"img_path": "a.png", "caption": "cat"}`, "4 Q=cat", ""},
		{`{"imgPath": "a.png", "Caption": "cat"}`, "4 Q=cat", ""},
		{`{"image_file": "a.png", "conversations": [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "a cat"}]}`, "4 what?=a cat", ""},
		{`{"Image": "a.png", "text": "x"}`, "4 Q=x", ""},
		{`{"picture": "a.png", "text": "x"}`, "4 Q=x", ""},
		{`{"photos": ["a.png", "b.png"], "text": "x"}`, "4 5 Q=x", ""},
		{`{"file_name": "a.png", "text": "x"}`, "4 Q=x", ""},
		{`{"image": {"path": "a.png"}, "text": "x"}`, "4 Q=x", ""},
		{`{"image": "` + url + `", "text": "x"}`, "6 Q=x", ""},
		{`{"image": "a.png", "image_url": "https://a/a.png", "text": "x"}`, "4 Q=x", ""},
		{`{"image": "a.png", "image_path": "a.png", "text": "x"}`, "4 Q=x", ""},
		{`{"image": "a.png", "score": NaN, "w": -Infinity, "n": [Infinity, "NaN"], "text": "NaN \" NaN"}`, `4 Q=NaN " NaN`, ""},
		{`{"image": "a.png", "image_path": "b.png", "text": "x"}`, "", "image and image_path name different images"},
		{`{"image": "a.png", "image2": "b.png", "text": "x"}`, "", "image2 names another image"},
		{`{"left_image": "a.png", "text": "x"}`, "", "left_image names an image"},
		{`{"media": {"0": "a.png"}, "question": "q", "answer": "x"}`, "", "media names an image"},
		{`{"image_url": "https://a/b", "question": "q", "answer": "x"}`, "", "image_url is the URL of an image"},
		{`{"url": "https://a/b.jpg?size=3", "question": "q", "answer": "x"}`, "", "url is the URL of an image"},
		{`{"image_base64": "iVBORw0KGgo", "question": "q", "answer": "x"}`, "", "image_base64 holds image bytes"},
		{`{"video": "a.mp4", "question": "q", "answer": "x"}`, "", "video is not read"},
		{`{"image": NaN, "text": "x"}`, "", "image does not name an image"},
		{`{"image": "a.png", "text": NaN}`, "", "text is not text"},
		{`{"image": "a.png", "text": "a\u0000b"}`, "", "NUL"},
		{`{"image": "data:image/png,abc", "text": "x"}`, "", "data: URL"},
		{`{"image_id": 3, "caption": "a cat"}`, "", "a caption without an image"},
		// Tags.
		{`{"conversations": [{"from": "user", "value": "Picture 1: <img>a.png</img>\nwhat is it?"}, {"from": "assistant", "value": "cat"}]}`, "4 Picture 1: \nwhat is it?=cat", ""},
		{`{"images": ["a.png"], "messages": [{"role": "user", "content": "<|vision_start|><|image_pad|><|vision_end|>what?"}, {"role": "assistant", "content": "x"}]}`, "4 what?=x", ""},
		{`{"images": ["a.png"], "messages": [{"role": "user", "content": "[IMG]what?"}, {"role": "assistant", "content": "x"}]}`, "4 what?=x", ""},
		{`{"images": ["a.png", "b.png"], "messages": [{"role": "user", "content": "<image 1> and <image 2>: is <image 1> red?"}, {"role": "assistant", "content": "x"}]}`, "4 5 image 1 and image 2: is image 1 red?=x", ""},
		{`{"images": ["a.png"], "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}, {"role": "assistant", "content": "x"}]}`, "4 what?=x", ""},
		{`{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "` + url + `"}}, {"type": "text", "text": "what?"}]}, {"role": "assistant", "content": "x"}]}`, "6 what?=x", ""},
		{`{"image": "a.png", "question": "<image>\nwhat?", "answer": "x"}`, "4 what?=x", ""},
		{`{"image": "a.png", "question": "what does <img src='b.png'> do?", "answer": "x"}`, "4 what does <img src='b.png'> do?=x", ""},
		{`{"image": "a.png", "conversations": [{"from": "human", "value": "<image> and <image>: differ?"}, {"from": "gpt", "value": "no"}]}`, "", "2 times <image>, 1 images"},
		{`{"conversations": [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "x"}]}`, "", "1 times <image>, 0 images"},
		{`{"question": "<image_placeholder> what?", "answer": "x"}`, "", "<image_placeholder>"},
		{`{"question": "<|image_pad|>what?", "answer": "x"}`, "", "<|image_pad|>"},
		{`{"question": "what? ![](a.png)", "answer": "x"}`, "", "![](a.png), which is not read"},
		{`{"question": "what? <img src=\"a.png\">", "answer": "x"}`, "", "which is not read"},
		{`{"question": "draw", "answer": "<image>"}`, "", "an answer contains <image>"},
		{`{"images": ["b.png"], "messages": [{"role": "user", "content": "<img>a.png</img>?"}, {"role": "assistant", "content": "x"}]}`, "", "the text and the record name different images"},
		{`{"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}, {"role": "assistant", "content": "x"}]}`, "", "a part of type image"},
		{`{"messages": [{"role": "user", "content": [{"type": "input_audio"}]}, {"role": "assistant", "content": "x"}]}`, "", `"input_audio"`},
		{`{"image": "a.png", "prefix": "caption en", "suffix": "a cat"}`, "4 caption en=a cat", ""},
		// Missing images.
		{`{"image": null, "question": "q", "answer": "x"}`, "", "the image field image is null"},
		{`{"img": null, "caption": "x"}`, "", "the image field img is null"},
		{`{"images": [], "question": "q", "answer": "x"}`, "", "the image field images is empty"},
		{`{"images": [null], "question": "q", "answer": "x"}`, "", "the image field images is empty"},
		{`{"picture": "", "question": "q", "answer": "x"}`, "", "the image field picture is empty"},
		{`{"file_name": null, "question": "q", "answer": "x"}`, "", "the image field file_name is null"},
		{`{"image": {"bytes": null, "path": null}, "question": "q", "answer": "x"}`, "", "the image field image is empty"},
		{`{"image_url": null, "question": "q", "answer": "x"}`, "", "the image field image_url is null"},
		{`{"image": null, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}]}`, "", "the image field image is null"},
		{`{"image": null, "img_path": "a.png", "question": "q", "answer": "x"}`, "4 q=x", ""},
		{`{"images": [], "messages": [{"role": "user", "content": "<img>a.png</img>q"}, {"role": "assistant", "content": "x"}]}`, "4 q=x", ""},
		// Several texts.
		{`{"image": "a.png", "question": "q", "caption": "c"}`, "4 q=c", ""},
		{`{"image": "a.png", "caption": "c", "text": "t"}`, "", "both caption and text: remove one"},
		{`{"image": "a.png", "caption": "c", "text": "c"}`, "4 Q=c", ""},
		{`{"image": "a.png", "question": "q", "answer": "x", "caption": "c"}`, "", "both answer and caption: remove one"},
		{`{"image": "a.png", "question": "q", "answer": "x", "caption": ""}`, "4 q=x", ""},
		{`{"image": "a.png", "question": "q", "answer": "x", "response": "y"}`, "", "both answer and response"},
		// Tags in answers, and other tags.
		{`{"image": "a.png", "question": "q", "answer": "<image> x"}`, "", "an answer contains <image>"},
		{`{"image": "a.png", "question": "q", "answer": "as <image 1> has it"}`, "", "an answer contains <image 1>"},
		{`{"image": "a.png", "question": "<pic> or <image_token>?", "answer": "x"}`, "", "2 times <pic>, 1 images"},
		{`{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "x"}]}]}`, "", "an answer with an image"},
		// Answers that are not strings.
		{`{"image": "a.png", "question": "q", "answer": 3}`, "4 q=3", ""},
		{`{"image": "a.png", "question": "q", "answer": 3.50}`, "4 q=3.50", ""},
		{`{"image": "a.png", "question": "q", "answer": true}`, "4 q=true", ""},
		{`{"image": "a.png", "question": "q", "answer": false, "n": NaN}`, "4 q=false", ""},
		{`{"image": "a.png", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": 12}]}`, "4 q=12", ""},
		{`{"image": "a.png", "question": "q", "answer": ["x"]}`, "", "answer is not text"},
		// Control characters.
		{`{"image": "a.png", "question": "q", "answer": "\u001b[1mx"}`, "", "a text contains the control character U+001B"},
		{`{"image": "a.png", "text": "\u001b$B%G\u001b(B"}`, "", "a text is in ISO-2022-JP"},
		{`{"image": "a.png", "text": "it\u0092s"}`, "", "a text contains the control character U+0092"},
		// Text-only records, some in Alpaca's format.
		{`{"question": "two?", "answer": "2"}`, "two?=2", ""},
		{`{"url": "https://a/page", "question": "two?", "answer": "2"}`, "two?=2", ""},
		{`{"question": "what does <b> do?", "answer": "<img src='a.png'> is not needed"}`, "what does <b> do?=<img src='a.png'> is not needed", ""},
		{`{"instruction": "Translate.", "input": "chat", "output": "cat"}`, "Translate.\nchat=cat", ""},
		{`{"instruction": "Say.", "input": "", "output": "cat", "history": [["a", "b"]]}`, "a=b Say.=cat", ""},
	} {
		t.Run(shorten(c.record), func(t *testing.T) {
			dir := tree(t, map[string]string{"a.png": "pic 4", "b.png": "pic 5", "list.jsonl": c.record})
			got := imported(t, importer.Options{Paths: []string{filepath.Join(dir, "list.jsonl")}})
			if c.reason == "" {
				if !slices.Equal(got.rows, []string{c.row}) {
					t.Errorf("%q, skipped %q, %v; want %q", got.rows, got.skipped, got.err, c.row)
				}
				return
			}
			checkContains(t, "skipped", got.skipped, []string{c.reason})
			if got.err == nil {
				t.Errorf("rows %q", got.rows)
			}
		})
	}
}

func shorten(s string) string { return strings.ReplaceAll(s[:min(len(s), 60)], "/", "_") }

// A text is decoded correctly or rejected.
func TestEncodings(t *testing.T) {
	const text = "un café noir"
	utf16 := func(order unicode.Endianness, bom unicode.BOMPolicy) func(string) string {
		return func(s string) string {
			out, err := unicode.UTF16(order, bom).NewEncoder().String(s)
			require.NoError(t, err)
			return out
		}
	}
	windows := func(s string) string {
		out, err := charmap.Windows1252.NewEncoder().String(s)
		require.NoError(t, err)
		return out
	}
	for _, c := range []struct {
		name   string
		text   string
		encode func(string) string
		reason string
	}{
		{"UTF-8", text, func(s string) string { return s }, ""},
		{"UTF-8 with a byte order mark", text, func(s string) string { return "\uFEFF" + s }, ""},
		{"UTF-16LE with a byte order mark", text, utf16(unicode.LittleEndian, unicode.UseBOM), ""},
		{"UTF-16BE with a byte order mark", text, utf16(unicode.BigEndian, unicode.UseBOM), ""},
		{"UTF-16LE", text, utf16(unicode.LittleEndian, unicode.IgnoreBOM), ""},
		{"UTF-16BE", text, utf16(unicode.BigEndian, unicode.IgnoreBOM), ""},
		{"Chinese in UTF-16LE with a byte order mark", "一只黑猫", utf16(unicode.LittleEndian, unicode.UseBOM), ""},
		{"Chinese in UTF-8", "一只黑猫", func(s string) string { return s }, ""},
		{"Windows-1252", text, windows, "is not in UTF-8"},
		{"Russian in UTF-16LE", "чёрный кот на столе", utf16(unicode.LittleEndian, unicode.IgnoreBOM), ""},
		{"ISO-2022-JP", "\x1b$B%G\x1b(B of a cat on a mat", func(s string) string { return s }, "the caption is in ISO-2022-JP"},
		{"an escape", "a \x1b[1mcat\x1b[0m", func(s string) string { return s }, "the caption contains the control character U+001B"},
		{"a C1 character", "it\u0092s a cat", func(s string) string { return s }, "the caption contains the control character U+0092"},
		{"a NUL", "un café\x00 noir", func(s string) string { return s }, "contains NUL bytes"},
		{"half a UTF-16 unit", text, func(s string) string { return "\xff\xfeu\x00n" }, "is damaged UTF-16"},
		{"half a surrogate pair", text, func(s string) string { return "\xff\xfe\x00\xd8" }, "is damaged UTF-16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, err := json.Marshal(map[string]string{"image": "a.png", "text": c.text})
			require.NoError(t, err)
			for name, content := range map[string]string{
				"a.txt": c.text, "list.jsonl": strings.ReplaceAll(string(line), `\u0000`, "\x00") + "\n",
				"list.json": "[" + string(line) + "]", "list.csv": "image,text\na.png," + c.text + "\n", "list.tsv": "image\ttext\na.png\t" + c.text + "\n",
			} {
				from := filepath.Join(tree(t, map[string]string{"a.png": "pic 4", name: c.encode(content)}), name)
				if name == "a.txt" {
					from = filepath.Dir(from)
				}
				got := imported(t, importer.Options{Paths: []string{from}})
				switch outcome := fmt.Sprint(got.skipped, got.err); {
				case len(got.rows) > 0 && got.rows[0] != "4 Q="+c.text:
					t.Errorf("%s: read %q, want %q", name, got.rows, c.text)
				case c.reason == "" && c.name != "Russian in UTF-16LE" && len(got.rows) != 1:
					t.Errorf("%s: %s, want a row", name, outcome)
				case c.reason != "" && (len(got.rows) > 0 || name == "a.txt" && !strings.Contains(outcome, c.reason)):
					t.Errorf("%s: %q, %s, want %q", name, got.rows, outcome, c.reason)
				}
			}
		})
	}
}

// JSON lines and arrays are read with either extension.
func TestListForms(t *testing.T) {
	const a, b = `{"image": "a.png", "text": "x", "score": NaN}`, `{"image": "b.png", "text": "y"}`
	for _, c := range []struct{ name, list, err string }{
		{"l.json", a + "\n" + b + "\n", ""},
		{"l.json", "[" + a + ",\n" + b + "]", ""},
		{"l.json", "\n\n  [\n" + strings.ReplaceAll(a, ",", ",\n") + "," + b + "]", ""},
		{"l.jsonl", a + "\r\n\r\n" + b, ""},
		{"l.jsonl", "[" + a + "," + b + "]", ""},
		{"l.json", "{\n\"images\": [],\n\"annotations\": [" + a + "]\n}", `"annotations"`},
		{"l.json", "[" + a + ", {", "entry 2 is not JSON"},
		{"l.json", "", "empty"},
		{"l.json", "words", "not a list of JSON objects"},
	} {
		dir := tree(t, map[string]string{"a.png": "pic 4", "b.png": "pic 5", c.name: c.list})
		got := imported(t, importer.Options{Paths: []string{filepath.Join(dir, c.name)}})
		if want := []string{"4 Q=x", "5 Q=y"}; c.err == "" && !slices.Equal(got.rows, want) {
			t.Errorf("%s %q: %q, %v, %q", c.name, c.list, got.rows, got.err, got.skipped)
		}
		var source *importer.SourceError
		if c.err != "" && (!errors.As(got.err, &source) || !strings.Contains(got.err.Error(), c.err)) {
			t.Errorf("%s %q: %v, want %q", c.name, c.list, got.err, c.err)
		}
	}
}

// Folders and lists named train and test become these splits.
func TestSplits(t *testing.T) {
	line := func(name, text string) string { return fmt.Sprintf(`{"file_name": %q, "text": %q}`, name, text) }
	for _, c := range []struct {
		name     string
		files    map[string]string
		fraction float64
		want     string // files' rows, or
		err      string
	}{
		{"ImageFolder with a list in each", map[string]string{"train/a.png": "pic 4", "train/metadata.jsonl": line("a.png", "x"), "test/a.png": "pic 5", "test/metadata.jsonl": line("a.png", "y")}, 0,
			"train 4 Q=x; test 5 Q=y", ""},
		{"captions", map[string]string{"train/a.png": "pic 4", "train/a.txt": "x", "val/b.png": "pic 5", "val/b.txt": "y", "test/c.png": "pic 6", "test/c.txt": "z"}, 0,
			"train 4 Q=x; validation 5 Q=y; test 6 Q=z", ""},
		{"lists named after splits", map[string]string{"a.png": "pic 4", "train.csv": "image,text\na.png,x\n", "test.csv": "image,text\na.png,y\n"}, 0,
			"train 4 Q=x; test 4 Q=y", ""},
		{"only one folder named after a split", map[string]string{"car/a.png": "pic 4", "car/a.txt": "x", "train/b.png": "pic 5", "train/b.txt": "y"}, 0.5,
			"train 4 Q=x; test 5 Q=y", ""},
		{"lists in folders with other names", map[string]string{"one/a.png": "pic 4", "one/metadata.csv": "file_name,text\na.png,x\n", "two/a.png": "pic 5", "two/metadata.csv": "file_name,text\na.png,y\n"}, 0,
			"train 4 Q=x, 5 Q=y", ""},
		{"--test-fraction with a test split", map[string]string{"train/a.png": "pic 4", "train/a.txt": "x", "test/b.png": "pic 5", "test/b.txt": "y"}, 0.5,
			"", "omit --test-fraction"},
		{"a list in a parent folder", map[string]string{"metadata.csv": "file_name,text\ntrain/a.png,x\n", "train/a.png": "pic 4", "train/metadata.csv": "file_name,text\na.png,y\n"}, 0,
			"", "several lists"},
		{"a list of another name in a subfolder", map[string]string{"train/a.png": "pic 4", "train/captions.jsonl": line("a.png", "x")}, 0,
			"", "captions.jsonl"},
		{"a JSON file for each image", map[string]string{"0/a.png": "pic 4", "0/a.txt": "x", "0/a.json": "{}", "0/b.png": "pic 5", "0/b.txt": "y", "0/b.json": "{}"}, 0,
			"train 4 Q=x, 5 Q=y", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := imported(t, importer.Options{Paths: []string{tree(t, c.files)}, TestFraction: c.fraction})
			if c.err != "" {
				if got.err == nil || !strings.Contains(got.err.Error(), c.err) {
					t.Errorf("%v, want %q", got.err, c.err)
				}
				return
			}
			require.NoError(t, got.err)
			var parts []string
			for _, f := range got.result.Files {
				split, _, _ := strings.Cut(filepath.Base(f), "-")
				parts = append(parts, split+" "+strings.Join(rows(t, f), ", "))
			}
			if s := strings.Join(parts, "; "); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
		})
	}
}

// Given paths are read even if they are links. Links that lead out of them are not, except
// with FollowLinks or in a hub cache.
func TestLinks(t *testing.T) {
	secret := tree(t, map[string]string{"x.png": "pic 7", "x.txt": "secret", "l.jsonl": `{"image": "x.png", "text": "secret"}`, "more/y.png": "pic 8", "more/y.txt": "secret"})
	at := func(name string) string { return filepath.Join(secret, name) }
	for _, c := range []struct {
		name    string
		files   map[string]string
		links   map[string]string
		from    string
		want    []string // without --follow-links
		follow  []string // with it
		skipped []string // without it
	}{
		{"the folder itself", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a"}, map[string]string{"link": "in"}, "link", []string{"4 Q=a"}, []string{"4 Q=a"}, nil},
		{"the folder itself with a slash", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a"}, map[string]string{"link": "in"}, "link/", []string{"4 Q=a"}, []string{"4 Q=a"}, nil},
		{"a folder around a linked one", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a"}, map[string]string{"link": "in"}, "link/../link", []string{"4 Q=a"}, []string{"4 Q=a"}, nil},
		{"inside", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a", "in/b.txt": "b"}, map[string]string{"in/b.png": "a.png", "in/loop": "."}, "in", []string{"4 Q=a", "4 Q=b"}, []string{"4 Q=a", "4 Q=b"}, nil},
		{"an image outside", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a", "in/x.txt": "x"}, map[string]string{"in/x.png": at("x.png")}, "in", []string{"4 Q=a"}, []string{"4 Q=a", "7 Q=x"}, []string{"leads out of the folder; add --follow-links"}},
		{"a caption out of it", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a", "in/b.png": "pic 5"}, map[string]string{"in/b.txt": at("x.txt")}, "in", []string{"4 Q=a"}, []string{"4 Q=a", "5 Q=secret"}, []string{"the caption's link leads out of the folder"}},
		{"a folder out of it", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a"}, map[string]string{"in/more": at("more")}, "in", []string{"4 Q=a"}, []string{"4 Q=a", "8 Q=secret"}, []string{"leads out of the folder"}},
		{"a list out of it", map[string]string{"in/x.png": "pic 4"}, map[string]string{"in/metadata.jsonl": at("l.jsonl")}, "in", nil, []string{"4 Q=secret"}, nil},
		{"a list that is named", map[string]string{"in/x.png": "pic 4"}, map[string]string{"in/l.jsonl": at("l.jsonl")}, "in/l.jsonl", []string{"4 Q=secret"}, []string{"4 Q=secret"}, nil},
		{"a given image", map[string]string{"in/x.txt": "x"}, map[string]string{"in/x.png": at("x.png")}, "in/x.png", []string{"7 Q=x"}, []string{"7 Q=x"}, nil},
		{"paths out of it", map[string]string{"b.png": "pic 5", "in/a.png": "pic 4", "in/l.csv": "image,text\na.png,a\n../b.png,b\n" + at("x.png") + ",x\n../in/a.png,c\n"}, nil, "in", []string{"4 Q=a Q=c"}, []string{"4 Q=a Q=c", "5 Q=b", "7 Q=x"}, []string{"leads out of the folder", "leads out of the folder"}},
		{"the hub's cache", map[string]string{"hub/blobs/1": "pic 4", "hub/blobs/2": "a", "hub/blobs/3": `{"file_name": "a.png", "text": "list"}`}, map[string]string{"hub/snapshots/r/a.png": "../../blobs/1", "hub/snapshots/r/a.txt": "../../blobs/2"}, "hub/snapshots/r", []string{"4 Q=a"}, []string{"4 Q=a"}, nil},
		{"a list in the hub's cache", map[string]string{"hub/blobs/1": "pic 4", "hub/blobs/3": `{"file_name": "a.png", "text": "list"}`}, map[string]string{"hub/snapshots/r/t/a.png": "../../../blobs/1", "hub/snapshots/r/t/metadata.jsonl": "../../../blobs/3"}, "hub/snapshots/r", []string{"4 Q=list"}, []string{"4 Q=list"}, nil},
		{"beyond the hub's cache", map[string]string{"hub/blobs/1": "pic 4", "hub/secret.txt": "b", "hub/blobs/2": "a"}, map[string]string{"hub/snapshots/r/a.png": "../../blobs/1", "hub/snapshots/r/a.txt": "../../secret.txt"}, "hub/snapshots/r", nil, []string{"4 Q=b"}, []string{"the caption's link leads out"}},
		{"a cache whose blobs are a link", map[string]string{}, map[string]string{"hub/blobs": secret, "hub/snapshots/r/a.png": "../../blobs/x.png", "hub/snapshots/r/a.txt": "../../blobs/x.txt"}, "hub/snapshots/r", nil, []string{"7 Q=secret"}, []string{"leads out"}},
		{"a circle around a list", map[string]string{"in/sub/a.png": "pic 4", "in/sub/metadata.csv": "file_name,text\na.png,a\n"}, map[string]string{"in/sub/up": "..", "in/x": "sub"}, "in", []string{"4 Q=a"}, []string{"4 Q=a"}, nil},
		{"to nothing", map[string]string{"in/a.png": "pic 4", "in/a.txt": "a", "in/b.txt": "b"}, map[string]string{"in/b.png": "gone.png"}, "in", []string{"4 Q=a"}, []string{"4 Q=a"}, []string{"no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, c.files)
			for link, target := range c.links {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755))
				require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
			}
			from := dir + "/" + c.from
			got := imported(t, importer.Options{Paths: []string{from}})
			if !slices.Equal(got.rows, c.want) || (got.err == nil) != (c.want != nil) {
				t.Errorf("%q, %v, want %q", got.rows, got.err, c.want)
			}
			checkContains(t, "skipped", got.skipped, c.skipped)
			if got := imported(t, importer.Options{Paths: []string{from}, FollowLinks: true}); !slices.Equal(got.rows, c.follow) {
				t.Errorf("with --follow-links %q, %v, want %q", got.rows, got.err, c.follow)
			}
		})
	}
}

// The caption of a stamp, for example, has translations below it.
func TestCaptionLines(t *testing.T) {
	dir := tree(t, map[string]string{"a.png": "pic 4", "a.txt": "\n a cat \nde=eine Katze\n", "b.png": "pic 5", "b.txt": "a dog " + strings.Repeat("and another ", 100), "c.png": "pic 6", "c.txt": "long " + strings.Repeat("é", 1200)})
	got := imported(t, importer.Options{Paths: []string{dir}})
	if got.rows[0] != "4 Q=a cat \nde=eine Katze" {
		t.Errorf("%q", got.rows)
	}
	checkContains(t, "notes", got.notes, []string{"2 captions have more than 1000 characters, the longest 1205: " + filepath.Join(dir, "b.txt")})
	if got := imported(t, importer.Options{Paths: []string{dir}, CaptionLines: 1}); got.rows[0] != "4 Q=a cat" {
		t.Errorf("%q", got.rows)
	}
}

func TestNotes(t *testing.T) {
	dir := tree(t, map[string]string{"l.jsonl": `{"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}`})
	got := imported(t, importer.Options{Paths: []string{dir}})
	checkContains(t, "notes", got.notes, []string{"1 system messages are dropped", "no row has an image"})
	dir = tree(t, map[string]string{"a.png": "pic 4", "b.png": "pic 5", "sub/c.png": "pic 6", "sub/d.png": "pic 7", "metadata.csv": "file_name,text\na.png,x\nsub/d.png,y\n"})
	got = imported(t, importer.Options{Paths: []string{dir}})
	checkContains(t, "notes", got.notes, []string{"2 images are skipped because no usable entry of the list in their folder names them, the first " + filepath.Join(dir, "b.png")})
	dir = tree(t, map[string]string{"a.png": "pic 4", "a.txt": "x", "b.heic": "heic", "b.txt": "y"})
	got = imported(t, importer.Options{Paths: []string{dir}})
	checkContains(t, "skipped", got.skipped, []string{"cannot be decoded"})
}

// The files that a killed import left are removed by the next one into the same folder, but
// not while another import is running.
func TestLeftovers(t *testing.T) {
	dir, parent := tree(t, map[string]string{"a.png": "pic 4", "a.txt": "a"}), t.TempDir()
	left := filepath.Join(parent, ".import-out")
	require.NoError(t, os.Mkdir(left, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(left, "train-00000.tmp"), []byte("half a shard"), 0o644))
	got := imported(t, importer.Options{Paths: []string{dir}, Out: filepath.Join(parent, "out")})
	require.NoError(t, got.err)
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	inside, err := os.ReadDir(filepath.Join(parent, "out"))
	require.NoError(t, err)
	if len(entries) != 1 || len(inside) != 1 || inside[0].Name() != "train-00000-of-00001.parquet" {
		t.Errorf("%v and in out %v", entries, inside)
	}
	// Other files are left alone.
	mine := filepath.Join(parent, "mine")
	require.NoError(t, os.Mkdir(mine, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(mine, "train-00000"), []byte("dear"), 0o644))
	require.NoError(t, os.Symlink(mine, filepath.Join(parent, ".import-linked")))
	require.NoError(t, os.Mkdir(filepath.Join(parent, ".import-filled"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(parent, ".import-filled", "letter"), []byte("dear"), 0o644))
	for _, out := range []string{"linked", "filled"} {
		if got := imported(t, importer.Options{Paths: []string{dir}, Out: filepath.Join(parent, out)}); got.err == nil {
			t.Errorf("imported into %s", out)
		}
	}
	for _, path := range []string{"mine/train-00000", ".import-filled/letter"} {
		if text, err := os.ReadFile(filepath.Join(parent, path)); err != nil || string(text) != "dear" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	// A second import while the first is running.
	busy := filepath.Join(parent, "busy")
	o := importer.Options{Paths: []string{dir}, Out: busy, Prompts: []string{"Q"}}
	var second error
	o.Skipped = func(importer.Skipped) {
		o := o
		o.Skipped = nil
		_, second = importer.Import(context.Background(), o)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.png"), []byte("no image"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.txt"), []byte("b"), 0o644))
	if _, err := importer.Import(context.Background(), o); err != nil || !errors.Is(second, importer.ErrBusy) {
		t.Errorf("%v, and the second: %v", err, second)
	}
}

// Parts of a record that are not read or are changed are reported.
func TestUnusedFields(t *testing.T) {
	talk := func(messages string) string { return `{"image": "a.png", "conversations": [` + messages + `]}` }
	const q, a = `{"from": "human", "value": "q"}`, `{"from": "gpt", "value": "x"}`
	for _, c := range []struct {
		record, row string
		notes       []string
	}{
		{talk(q + "," + a), "4 q=x", nil},
		{talk(q + "," + a + "," + q), "4 q=x", []string{"1 questions without an answer are dropped"}},
		{talk(q + `, {"from": "gpt", "value": ""},` + q + "," + a), "4 q=x", []string{"1 questions without an answer"}},
		{talk(q + "," + q + "," + a), "4 q\nq=x", []string{"1 messages are joined with the one before"}},
		{talk(q + "," + a + "," + a), "4 q=x\nx", []string{"1 messages are joined with the one before"}},
		{`{"image": "a.png", "question": "q", "answer": "x", "hint": "h", "Context": "c", "choices": ["y", "z"], "options": []}`, "4 q=x", []string{"the field Context of 1 entries", "the field choices of 1 entries", "the field hint of 1 entries"}},
		{`{"image": "a.png", "question": "q", "answer": "x", "passage": "p", "options": {"A": "y"}, "explanation": "e", "rationale": "r"}`, "4 q=x", []string{"field explanation", "field options", "field passage", "field rationale"}},
		{`{"image": "a.png", "system": "be kind", "caption": "x"}`, "4 Q=x", []string{"field system of"}},
		{`{"image": "a.png", "question": "q", "prompt": "p", "answer": "x"}`, "4 q=x", []string{"field prompt of"}},
		{`{"image": "a.png", "text": "t", "conversations": [` + q + "," + a + `]}`, "4 q=x", []string{"field text of"}},
		{`{"image": "a.png", "instruction": "Say.", "input": "i", "output": "x", "history": [["q", "a"]]}`, "4 q=a Say.\ni=x", nil},
	} {
		t.Run(shorten(c.record), func(t *testing.T) {
			dir := tree(t, map[string]string{"a.png": "pic 4", "l.jsonl": c.record})
			got := imported(t, importer.Options{Paths: []string{dir}})
			if !slices.Equal(got.rows, []string{c.row}) {
				t.Errorf("%q, skipped %q; want %q", got.rows, got.skipped, c.row)
			}
			checkContains(t, "notes", got.notes, c.notes)
		})
	}
}

// A quote in TSV does not join lines.
func TestQuotesInTSV(t *testing.T) {
	for _, c := range []struct{ field, want string }{
		{`"Hello`, `"Hello`}, {`Go"`, `Go"`}, {`"`, `"`}, {`say "hi" twice`, `say "hi" twice`}, {`"a" and "b"`, `"a" and "b"`},
		{`"c"`, `c`}, {`"5"" disk"`, `5" disk`}, {`5" disk`, `5" disk`}, {`"""c"""`, `"c"`},
	} {
		list := "image\ttext\r\na.png\t" + c.field + "\r\n\r\nb.png\ty\r\nb.png\tz\tz\r\n"
		got := imported(t, importer.Options{Paths: []string{tree(t, map[string]string{"a.png": "pic 4", "b.png": "pic 5", "l.tsv": list})}})
		if want := []string{"4 Q=" + c.want, "5 Q=y"}; !slices.Equal(got.rows, want) {
			t.Errorf("%s: %q, %v; want %q", c.field, got.rows, got.skipped, want)
		}
		checkContains(t, "skipped", got.skipped, []string{"3 columns, want 2"})
	}
}
