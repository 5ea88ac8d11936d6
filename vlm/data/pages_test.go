package data

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// TestDamagedLZ4 turns over each byte of the pages in turn. Whatever was hit,
// every row is read or refused, soon.
func TestDamagedLZ4(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(quirks, "files", "codec_lz4.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.parquet")
	start, refused := time.Now(), 0
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
			refused++
		}
	}
	if took := time.Since(start); refused < 50 || took > 30*time.Second {
		t.Errorf("%d of 696 refused in %v", refused, took)
	}
}

func TestLZ4Versions(t *testing.T) {
	rows := []record{recordOf(Row{Images: [][]byte{make([]byte, 1000)}, Turns: []Turn{{"q", "a"}}}), recordOf(Row{})}
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
