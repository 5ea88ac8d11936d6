package data

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// TestDamagedLZ4 inverts each byte of the pages, one at a time. Reading then succeeds or
// returns a *DataError, quickly.
func TestDamagedLZ4(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(quirks, "files", "codec_lz4.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.parquet")
	rejected := 0
	for i := 4; i < 700; i++ {
		damaged := append([]byte{}, whole...)
		damaged[i] ^= 0xff
		if err := os.WriteFile(path, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := mustOpen(t, path).Row(0)
		var e *DataError
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("byte %d: %T %v", i, err, err)
		}
		if err != nil {
			rejected++
		}
	}
	if rejected < 50 {
		t.Errorf("%d of 696 rejected, want 50 at least", rejected)
	}
}

func TestLZ4Versions(t *testing.T) {
	rows := []record{{Images: files([][]byte{make([]byte, 1000)}), Texts: turns([]Turn{{"q", "a"}})}, {}}
	for version := 1; version <= 2; version++ {
		path := filepath.Join(t.TempDir(), "a.parquet")
		if err := parquet.WriteFile(path, rows, parquet.Compression(&parquet.Lz4Raw), parquet.DataPageVersion(version)); err != nil {
			t.Fatal(err)
		}
		r, err := mustOpen(t, path).Row(0)
		if err != nil || len(r.Turns) != 1 || r.Turns[0].Assistant != "a" || len(r.Images[0]) != 1000 {
			t.Errorf("pages of version %d: %v, %v", version, r.Turns, err)
		}
	}
}

// page returns a page: its header and body.
func page(t *testing.T, h format.PageHeader, body []byte) []byte {
	t.Helper()
	h.CompressedPageSize = int32(len(body))
	head, err := thrift.Marshal(new(thrift.CompactProtocol), h)
	if err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// Pages with wrong sizes, and decompression bombs, are rejected before they are read.
func TestCheckPages(t *testing.T) {
	dataPage := func(unpacked, values int32) (h format.PageHeader) {
		h.Type, h.UncompressedPageSize = format.DataPage, unpacked
		h.DataPageHeader.Valid, h.DataPageHeader.V.NumValues = true, values
		return h
	}
	zeros := make([]byte, 200<<20)
	for _, c := range []struct {
		name   string
		codec  format.CompressionCodec
		header format.PageHeader
		body   []byte
		want   string // in the error; "": the page is valid
	}{
		{"two gigabytes declared", format.Snappy, dataPage(math.MaxInt32, 1), []byte{0}, "too much for its size"},
		{"two billion values", format.Uncompressed, dataPage(4, math.MaxInt32), make([]byte, 4), "too much for its size"},
		{"gzip beyond its size", format.Gzip, dataPage(1000, 1), packed(t, &parquet.Gzip, zeros[:1<<20]), "damaged page"},
		{"Zstandard beyond its size", format.Zstd, dataPage(1000, 1), packed(t, &parquet.Zstd, zeros[:1<<20]), "damaged page"},
		{"Brotli beyond its size", format.Brotli, dataPage(1000, 1), packed(t, &parquet.Brotli, zeros[:1<<20]), "damaged page"},
		{"Snappy beyond its size", format.Snappy, dataPage(1000, 1), packed(t, &parquet.Snappy, zeros[:1<<20]), "damaged page"},
		{"200 MB as declared", format.Gzip, dataPage(200<<20, 1), packed(t, &parquet.Gzip, zeros), "too much for its size"},
		{"negative size", format.Snappy, dataPage(-1, 1), []byte{0}, "damaged page"},
		{"good gzip", format.Gzip, dataPage(1000, 1), packed(t, &parquet.Gzip, zeros[:1000]), ""},
		{"good Zstandard", format.Zstd, dataPage(1000, 1), packed(t, &parquet.Zstd, zeros[:1000]), ""},
		{"good Brotli", format.Brotli, dataPage(1000, 1), packed(t, &parquet.Brotli, zeros[:1000]), ""},
		{"good Snappy", format.Snappy, dataPage(1000, 1), packed(t, &parquet.Snappy, zeros[:1000]), ""},
		{"good", format.Uncompressed, dataPage(1000, 1), zeros[:1000], ""},
	} {
		file := page(t, c.header, c.body)
		chunk := &format.ColumnMetaData{Codec: c.codec, TotalCompressedSize: int64(len(file)), NumValues: 1}
		err := checkPages(bytes.NewReader(file), int64(len(file)), chunk, newByteBudget(int64(len(file))))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func packed(t *testing.T, codec compress.Codec, plain []byte) []byte {
	t.Helper()
	out, err := codec.Encode(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Many rows can share a dictionary value: here 20 MB stand for 20 GB. The rows share the
// value's memory.
func TestRepeatedValue(t *testing.T) {
	type image struct {
		Bytes []byte `parquet:"bytes,dict"`
	}
	type row struct {
		Images []image     `parquet:"images,list"`
		Texts  []plainTurn `parquet:"texts,list"`
	}
	rows := make([]row, 1000)
	large := make([]byte, 20<<20)
	for i := range rows {
		rows[i] = row{[]image{{large}}, []plainTurn{{"q", "a"}}}
	}
	path := filepath.Join(t.TempDir(), "a.parquet")
	if err := parquet.WriteFile(path, rows, parquet.Compression(&parquet.Snappy), parquet.SkipPageBounds("images", "list", "element", "bytes")); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, path)
	first, err := d.Row(0)
	if err != nil || len(first.Images[0]) != len(large) {
		t.Fatal(err)
	}
	for i := range d.Len() {
		r, err := d.Row(i)
		if err != nil || len(r.Images) != 1 || &r.Images[0][0] != &first.Images[0][0] {
			t.Fatalf("row %d: %d images, %v; want one that shares memory", i, len(r.Images), err)
		}
	}
}

// Uncompressed images, such as BMP, compress well in their pages. Those are read up to
// the byte budget.
func TestHighlyCompressedImages(t *testing.T) {
	for _, c := range []struct {
		name  string
		rows  int // of 1 MB
		noise int // a random byte every so many bytes; 0: none
		want  string
	}{
		{"38 to 1", 300, 50, ""},
		{"100 MB of one colour", 100, 0, ""},
		{"400 MB of one colour", 400, 0, "row_group_size=100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 1))
			drawing := make([]byte, 1<<20)
			rows := make([]plainRow, c.rows)
			for i := range rows {
				for at := 0; c.noise > 0 && at < len(drawing); at += c.noise {
					drawing[at] = byte(random.Uint32())
				}
				drawing[i] = 1
				rows[i] = plainRow{[]plainImage{{slices.Clone(drawing)}}, []plainTurn{{"q", "a"}}}
			}
			path := filepath.Join(t.TempDir(), "a.parquet")
			if err := parquet.WriteFile(path, rows, parquet.Compression(&parquet.Zstd), parquet.SkipPageBounds("images", "list", "element", "bytes"), parquet.SkipPageStatistics("images", "list", "element", "bytes")); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d MB in %.1f", c.rows, float64(info.Size())/(1<<20))
			r, err := mustOpen(t, path).Row(c.rows - 1)
			if c.want == "" && (err != nil || len(r.Images[0]) != len(drawing)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%d images, %v, want %q", len(r.Images), err, c.want)
			}
		})
	}
}

type plainImage struct {
	Bytes []byte `parquet:"bytes"`
}

type plainTurn struct {
	User      string `parquet:"user"`
	Assistant string `parquet:"assistant"`
}

type plainRow struct {
	Images []plainImage `parquet:"images,list"`
	Texts  []plainTurn  `parquet:"texts,list"`
}

// Overlapping readers restore the garbage collector's setting.
func TestGCSettingIsRestored(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	debug.SetGCPercent(77)
	var s gcSetting
	s.begin()
	s.begin()
	s.end()
	if now := debug.SetGCPercent(10); now != 10 {
		t.Errorf("%d while one reader is left, want 10", now)
	}
	s.end()
	if now := debug.SetGCPercent(77); now != 77 {
		t.Errorf("%d afterwards, want 77", now)
	}
}
