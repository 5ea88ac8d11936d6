package data

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"patchwork/internal/require"
)

func TestIndex(t *testing.T) {
	d := grouped(t, 7, 40, 33)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	entries := []IndexEntry{
		{Row: 0, Encoded: true, Lengths: []int{12}},
		{Row: 39, Encoded: true, Lengths: []int{700, 3}},
		{Row: 40, Encoded: true, Reason: "no turn has an answer"},
		{Row: 72, Encoded: true, Lengths: []int{70000}},
	}
	x := OpenIndex(d, "key")
	require.NoError(t, x.Add(entries))
	require.NoError(t, x.Add([]IndexEntry{
		{Row: 0, Images: []Size{{640, 480}}}, {Row: 39, Images: []Size{{1, 2}, {70000, 3}}}, {Row: 72, Reason: "image 1 cannot be decoded: no"},
		{Row: 39, Encoded: true, Lengths: []int{1}}, // known already
	}))
	entries[0].Images, entries[1].Images, entries[3].Reason = []Size{{640, 480}}, []Size{{1, 2}, {70000, 3}}, "image 1 cannot be decoded: no"
	check := func(x *Index, what string) {
		t.Helper()
		for _, want := range entries {
			if got := x.Entry(want.Row); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
		if got := x.Entry(1); !reflect.DeepEqual(got, IndexEntry{Row: 1}) || x.Known() != len(entries) {
			t.Errorf("%s: row 1 is %+v, %d rows are known", what, got, x.Known())
		}
	}
	check(x, "in memory")
	check(OpenIndex(d, "key"), "from files")
	if n := OpenIndex(d, "another key").Known(); n != 0 {
		t.Errorf("another key knows %d rows", n)
	}

	// A damaged end is cut off, and what follows is appended.
	path := OpenIndex(d, "key").shards[0].path
	if filepath.Base(filepath.Dir(path)) != IndexFolder {
		t.Errorf("the index is %s, not beside the data", path)
	}
	whole := require.Value(os.ReadFile(path))(t)
	for cut := range len(whole) {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o644))
		x := OpenIndex(d, "key")
		require.NoError(t, x.Add(entries[:2]))
		if got := OpenIndex(d, "key").Entry(39); !reflect.DeepEqual(got.Lengths, entries[1].Lengths) {
			t.Fatalf("cut at %d: %+v", cut, got)
		}
	}
	for at := range whole { // a flipped bit may lose entries, but never makes other ones
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 1 << (at % 8)
		require.NoError(t, os.WriteFile(path, damaged, 0o644))
		for _, want := range entries[:2] {
			if got := OpenIndex(d, "key").Entry(want.Row); got.Encoded && !reflect.DeepEqual(got.Lengths, want.Lengths) {
				t.Fatalf("bit flipped at %d: %+v", at, got)
			}
		}
	}
}

// TestIndexInCache: where the folder of the data cannot be written, the index is in the cache.
func TestIndexInCache(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	d := grouped(t, 7, 40)
	// A file in the place of the folder stops root, too.
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(d.Files()[0]), IndexFolder), nil, 0o644))
	require.NoError(t, OpenIndex(d, "key").Add([]IndexEntry{{Row: 3, Encoded: true, Lengths: []int{9}}}))
	x := OpenIndex(d, "key")
	if got := x.Entry(3); !got.Encoded || filepath.Dir(filepath.Dir(filepath.Dir(x.shards[0].path))) != cache {
		t.Errorf("%+v, in %s", got, x.shards[0].path)
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(d.Files()[0], "no folder"))
	if err := OpenIndex(d, "key").Add([]IndexEntry{{Row: 4, Encoded: true, Lengths: []int{9}}}); err == nil {
		t.Error("no error, although neither folder can be written")
	}
}
