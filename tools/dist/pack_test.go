package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"testing"
	"time"
)

// TestPack: an archive contains the files unchanged, and the same files give the same bytes.
func TestPack(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	all := []entry{{"vlmtool", 0o755, []byte("binary")}, {"man/vlmtool.1", 0o644, []byte("page")}}
	for name, write := range map[string]func(io.Writer, string, time.Time, []entry) error{"tar": writeTar, "zip": writeZip} {
		var first, second bytes.Buffer
		for _, to := range []*bytes.Buffer{&first, &second} {
			if err := write(to, "folder", at, all); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s: the same files give different bytes", name)
		}
		var got []entry
		if name == "zip" {
			got = unzipped(t, first.Bytes())
		} else {
			got = untarred(t, &first)
		}
		for i, e := range all {
			if g := got[i]; g.name != "folder/"+e.name || g.mode != e.mode || !bytes.Equal(g.data, e.data) {
				t.Errorf("%s: got %v, want %v", name, g, e)
			}
		}
	}
}

func untarred(t *testing.T, r io.Reader) (all []entry) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(unpacked)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{h.Name, h.Mode, data})
	}
}

func unzipped(t *testing.T, packed []byte) (all []entry) {
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{f.Name, int64(f.Mode().Perm()), data})
	}
	return all
}
