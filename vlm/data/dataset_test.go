package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// write makes a file of rows.
func write(t testing.TB, path string, rows ...Row) string {
	t.Helper()
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// numbered returns n rows with distinct texts and images.
func numbered(prefix string, n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		name := fmt.Sprintf("%s%d", prefix, i)
		rows[i] = Row{Images: [][]byte{[]byte("image " + name)}, Turns: []Turn{{"which?", name}}, Source: prefix}
	}
	return rows
}

func TestWriterRoundTrip(t *testing.T) {
	rows := []Row{
		{Images: [][]byte{{1, 2, 3}, {0}}, Turns: []Turn{{"a", "b"}, {"", "d"}, {"e", ""}}, Source: "s"},
		{Turns: []Turn{{"text alone", "yes"}}},
		{Images: [][]byte{nil, {9}}, Turns: []Turn{{"a null image", "no"}}},
		{Images: [][]byte{make([]byte, 3<<20)}},
		{Turns: []Turn{{"NUL \x00 and <|im_end|>", "\U0001f468\u200d\U0001f469"}}},
	}
	path := write(t, filepath.Join(t.TempDir(), "a.parquet"), rows...)
	d := mustOpen(t, path)
	if d.Len() != len(rows) {
		t.Fatalf("%d rows, want %d", d.Len(), len(rows))
	}
	for i, want := range rows {
		want.File, want.Index = path, i
		got, err := d.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Images) == 0 {
			got.Images = nil
		}
		if len(got.Turns) == 0 {
			got.Turns = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("row %d: %.200v, want %.200v", i, got, want)
		}
	}
}

// There is no file before Close, nor after Abort.
func TestWriterAtomic(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "a.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(Row{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.parquet")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before Close: %v", err)
	}
	w.Abort()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("after Abort: %v", entries)
	}
	if err := w.Write(Row{}); err == nil {
		t.Error("Write after Abort gave no error")
	}
}

// TestRow reads two files of several row groups in order, then at random from several
// goroutines, with a cache of one group.
func TestRow(t *testing.T) {
	dir := t.TempDir()
	a := write(t, filepath.Join(dir, "a.parquet"), numbered("a", 2*groupRows+10)...)
	none := write(t, filepath.Join(dir, "b.parquet"))
	c := write(t, filepath.Join(dir, "c.parquet"), numbered("c", groupRows+1)...)
	d := mustOpen(t, a, none, c)
	d.cache.limit = 1
	inA := 2*groupRows + 10
	if want := inA + groupRows + 1; d.Len() != want || len(d.groups) != 5 {
		t.Fatalf("%d rows in %d groups, want %d in 5", d.Len(), len(d.groups), want)
	}
	check := func(i int) error {
		path, row, name := a, i, fmt.Sprintf("a%d", i)
		if i >= inA {
			path, row, name = c, i-inA, fmt.Sprintf("c%d", i-inA)
		}
		if n, ok := d.Index(path, row); !ok || n != i {
			return fmt.Errorf("row %d: found as %d, %v", i, n, ok)
		}
		r, err := d.Row(i)
		if err == nil && (r.File != path || r.Index != row || r.Turns[0].Assistant != name || string(r.Images[0]) != "image "+name || r.Source != name[:1]) {
			err = fmt.Errorf("row %d: %v, want %s", i, r, name)
		}
		return err
	}
	for i := range d.Len() {
		if err := check(i); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 20 {
				if err := check(r.IntN(d.Len())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if n := d.cache.order.Len(); n > 4 {
		t.Errorf("%d groups cached, want at most one per reader", n)
	}
	for _, i := range []int{-1, d.Len()} {
		if _, err := d.Row(i); err == nil {
			t.Errorf("row %d: no error", i)
		}
	}
}

func TestFingerprint(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	a := write(t, filepath.Join(one, "a.parquet"), numbered("a", 3)...)
	same := write(t, filepath.Join(two, "a.parquet"), numbered("a", 3)...)
	other := write(t, filepath.Join(two, "b.parquet"), numbered("b", 4)...)
	first := mustOpen(t, a).Fingerprint()
	if first != mustOpen(t, same).Fingerprint() {
		t.Error("the same data in another folder has another fingerprint")
	}
	if first == mustOpen(t, other).Fingerprint() || len(first) != 64 {
		t.Errorf("fingerprint %q is not unique or has a wrong length", first)
	}
}

// A file that is replaced while in use is an error.
func TestChangedFile(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "a.parquet"), numbered("a", 3)...)
	d := mustOpen(t, path)
	write(t, path, numbered("a", 2)...)
	var e *DataError
	if _, err := d.Row(2); !errors.As(err, &e) || e.Row != 2 || !strings.Contains(e.Reason, "changed") {
		t.Errorf("%v", err)
	}
}

// TestSchemas reads the list layouts of other writers.
func TestSchemas(t *testing.T) {
	type turn struct {
		User      string `parquet:"user"`
		Assistant []byte `parquet:"assistant,optional"`
	}
	type repeated struct { // a repeated group without a list around it
		Texts []turn `parquet:"texts"`
	}
	type bytesAlone struct {
		Texts  []turn `parquet:"texts,list"`
		Images []struct {
			Bytes []byte `parquet:"bytes"`
		} `parquet:"images,list"`
	}
	type nested struct {
		Texts [][]turn `parquet:"texts,list"`
	}
	type badImages struct {
		Texts  []turn   `parquet:"texts,list"`
		Images []string `parquet:"images,list"`
	}
	turns := []turn{{"q", []byte("a\xff\xfeb")}, {"r", nil}}
	want := []Turn{{"q", "a\uFFFDb"}, {"r", ""}}
	image := []struct {
		Bytes []byte `parquet:"bytes"`
	}{{[]byte("x")}}
	tests := []struct {
		name   string
		write  func(path string) error
		images int
		err    string
	}{
		{"repeated group", func(p string) error { return parquet.WriteFile(p, []repeated{{turns}}) }, 0, ""},
		{"bytes alone", func(p string) error { return parquet.WriteFile(p, []bytesAlone{{turns, image}}) }, 1, ""},
		{"list of lists", func(p string) error { return parquet.WriteFile(p, []nested{{[][]turn{turns}}}) }, 0,
			"column texts is a list of lists, not a list of structs with user and assistant"},
		{"images of text", func(p string) error { return parquet.WriteFile(p, []badImages{{turns, []string{"a.png"}}}) }, 0,
			"column images is made of STRING, not a list of structs with bytes, a struct with bytes, or a binary value"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.parquet")
			if err := test.write(path); err != nil {
				t.Fatal(err)
			}
			d, err := Open(t.Context(), Local(path))
			if test.err != "" {
				var e *DataError
				if !errors.As(err, &e) || e.Reason != test.err {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Row(0)
			if err != nil || !slices.Equal(r.Turns, want) || len(r.Images) != test.images {
				t.Errorf("%q, %d images, %v; want %q, %d", r.Turns, len(r.Images), err, want, test.images)
			}
		})
	}
}

func TestHoldOut(t *testing.T) {
	for _, test := range []struct {
		n    int
		want []int // among 0 to 20
	}{
		{10, []int{9, 19}}, {7, []int{6, 13, 20}}, {0, nil}, {-3, nil},
	} {
		held := HoldOut(test.n)
		var got []int
		for i := range 21 {
			if held(i) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("HoldOut(%d) holds out %v, want %v", test.n, got, test.want)
		}
	}
}

func TestResolve(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{
		"one/b.parquet", "one/a.parquet", "one/notes.txt", "one/.hidden.parquet", "one/deeper/c.parquet",
		"mixed/train-0.parquet", "mixed/train-1.parquet", "mixed/test-0.parquet", "mixed/folder.parquet/x",
		"none/readme.md", "odd[1]/a.parquet", "cats,dogs/a,b.parquet",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		patterns string
		want     string // files, or
		err      string
	}{
		{"one", "one/a.parquet one/b.parquet", ""},
		{"one/", "one/a.parquet one/b.parquet", ""},
		{"one/b.parquet", "one/b.parquet", ""},
		{"mixed/test-0.parquet one one/a.parquet", "mixed/test-0.parquet one/a.parquet one/b.parquet", ""},
		{"mixed/train-*", "mixed/train-0.parquet mixed/train-1.parquet", ""},
		{"mixed/*.parquet", "mixed/test-0.parquet mixed/train-0.parquet mixed/train-1.parquet", ""},
		{"odd[1]", "odd[1]/a.parquet", ""},
		{"mixed", "", "mixed: contains the splits test and train; name one of them, for example mixed/train-*.parquet"},
		{"none", "", "none: no *.parquet in this folder"},
		{"absent", "", "absent: no such file"},
		{"absent/*.parquet", "", "absent/*.parquet: no such file"},
		{"a[", "", "a[: not a valid glob"},
		{"one/a.parquet,mixed/train-*,one", "mixed/train-0.parquet mixed/train-1.parquet one/a.parquet one/b.parquet", ""},
		{"cats,dogs/a,b.parquet", "cats,dogs/a,b.parquet", ""},
		{"cats,dogs/*,*.parquet one/a.parquet", "cats,dogs/a,b.parquet one/a.parquet", ""},
		{"cats,dogs one/a.parquet,one/b.parquet", "cats,dogs/a,b.parquet one/a.parquet one/b.parquet", ""},
		{"one/a.parquet,absent", "", "absent: no such file"},
		{strings.Repeat("one/a.parquet,", 1000) + "a[", "", "a[: not a valid glob"},
	}
	t.Chdir(root)
	for _, test := range tests {
		files, err := Resolve(strings.Fields(test.patterns))
		if test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("%s: %v, want %q", test.patterns, err, test.err)
			}
		} else if got := strings.Join(names(files), " "); err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.patterns, got, err, test.want)
		}
	}
}

func names(files []File) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

// TestEasyVQA reads thousands of rows shuffled.
func TestEasyVQA(t *testing.T) {
	folder := filepath.Join("..", "..", "..", "shared", "data", "easyvqa")
	if _, err := os.Stat(folder); err != nil {
		t.Skip("no ../shared/data/easyvqa beside the project")
	}
	files, err := Resolve([]string{filepath.Join(folder, "train-*.parquet")})
	if err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, names(files)...)
	start, turns := time.Now(), 0
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(d.Len()) {
		row, err := d.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		v := Check(row)
		if v.Status != Use || !slices.Equal(v.Images, []Size{{64, 64}}) {
			t.Fatalf("row %d: %+v", i, v)
		}
		turns += v.Turns
	}
	if d.Len() != 4000 || turns != 38575 { // the data's README
		t.Errorf("%d rows, %d turns, want 4000 and 38575", d.Len(), turns)
	}
	t.Logf("%d rows read and decoded, shuffled, in %v", d.Len(), time.Since(start))
}
