package data

import (
	"path/filepath"
	"testing"
)

// One frequent reason does not crowd out the others.
func TestBadRowsLimit(t *testing.T) {
	b, err := OpenBadRows(filepath.Join(t.TempDir(), BadRowsFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxListedPerReason + 50 {
		b.add(BadRow{"a", i, "flood: " + string(rune('a'+i%26))})
	}
	b.add(BadRow{"a", 1 << 30, "rare"})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if b.counts["flood"] != maxListedPerReason || b.counts["rare"] != 1 {
		t.Errorf("listed %v", b.counts)
	}
}
