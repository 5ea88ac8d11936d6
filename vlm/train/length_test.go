package train

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// TestSeqLenTooShort: rows of tokens that hold nothing of the data are refused before
// anything is written, with the length that holds something. Text alone trains on
// rows that are shorter than a picture.
func TestSeqLenTooShort(t *testing.T) {
	pictures := testRows(t, data.Row{Images: [][]byte{vlmtest.Image(t, vlmtest.Colors[0].RGB, 4, 4, 20)}, Turns: []data.Turn{
		{User: "what color is the shape, if there is one at all?", Assistant: "red"}, {User: "is it red?", Assistant: "yes"}, {User: "why?"},
	}})
	text := testRows(t, data.Row{Turns: []data.Turn{{User: "is it red?", Assistant: "yes"}}})
	silent := testRows(t, data.Row{Turns: []data.Turn{{User: "is it red?"}}})
	for _, c := range []struct {
		name   string
		files  []string
		turns  packing.Turns
		seqLen int
		least  int  // that the error tells; 0: no such error
		others bool // the run ends with another error
	}{
		{"pictures", []string{pictures}, packing.InBranches, 20, 73, false},
		{"pictures, one token short", []string{pictures}, packing.InBranches, 72, 73, false},
		{"pictures, just long enough", []string{pictures}, packing.InBranches, 73, 0, false},
		{"a conversation begins with its first turn", []string{pictures}, packing.InConversation, 85, 86, false},
		{"a conversation, just long enough", []string{pictures}, packing.InConversation, 86, 0, false},
		{"text", []string{text}, packing.InBranches, 20, 0, false},
		{"text too long", []string{text}, packing.InBranches, 8, 9, false},
		{"pictures first, then text", []string{pictures, text}, packing.InBranches, 20, 0, false},
		{"nothing to learn", []string{silent}, packing.InBranches, 20, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRecipe(t, 1)
			r.SeqLen, r.Turns, r.HoldOut, r.BatchSize = c.seqLen, c.turns, 0, 1
			r.MaxBadFraction = 1 // rows that are too long are bad ones
			dev := cpu.Open(0)
			defer dev.Close()
			out := filepath.Join(t.TempDir(), "run")
			_, err := trainOn(t, dev, r, c.files, out, false, Observer{})
			var short *LengthError
			errors.As(err, &short)
			switch {
			case c.least > 0 && short == nil:
				t.Fatalf("trained with %v, want a *LengthError", err)
			case c.least == 0 && (short != nil || (err != nil) != c.others):
				t.Fatal(err)
			case c.least == 0:
				return
			}
			if short.Least != c.least || !strings.Contains(err.Error(), "--seq-len") {
				t.Errorf("%v; want a least of %d tokens", err, c.least)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the run's folder: %v; want none", err)
			}
		})
	}
}

// testRows writes a row 8 times.
func testRows(t testing.TB, row data.Row) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.Create(path)
	require.NoError(t, err)
	for range 8 {
		require.NoError(t, w.Write(row))
	}
	require.NoError(t, w.Close())
	return path
}
