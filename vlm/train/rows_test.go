package train

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/loader"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// rowsFile writes a dataset of the given rows.
func rowsFile(t testing.TB, rows ...data.Row) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.Create(path)
	require.NoError(t, err)
	for _, row := range rows {
		require.NoError(t, w.Write(row))
	}
	require.NoError(t, w.Close())
	return path
}

// TestRowsTooLong: training and vlmtool inspect --rows both skip a row of which no turn fits.
func TestRowsTooLong(t *testing.T) {
	short := data.Row{Turns: []data.Turn{{User: "is it red?", Assistant: "yes"}}}
	long := data.Row{Turns: []data.Turn{{User: "is it red?", Assistant: strings.Repeat("yes and ", 100)}}}
	both := data.Row{Turns: append(append([]data.Turn{}, short.Turns...), long.Turns...)}
	for _, turns := range []packing.Turns{packing.SharedPrefix, packing.InConversation} {
		for _, c := range []struct {
			name string
			row  data.Row
			bad  int
		}{{"short", short, 0}, {"long", long, 1}, {"a turn that fits", both, 0}} {
			r := testRecipe(t, 1)
			r.Turns, r.SeqLen = turns, 40
			p, err := pretrained.PresetProcessor(r.Preset, r.Vision.Patches())
			require.NoError(t, err)
			set, err := data.Open(t.Context(), data.Local(rowsFile(t, c.row)))
			require.NoError(t, err)
			stats := data.NewRowStats(nil)
			_, err = loader.New(set, rowSet(0), p, r.loaderConfig(r.Vision, r.Audio), stats).Samples(0)
			require.NoError(t, err)
			checker, err := NewRowChecker(r, "")
			require.NoError(t, err)
			row, err := set.Row(0)
			require.NoError(t, err)
			v := checker.Check(row)
			if stats.Bad() != c.bad || (v.Status == data.Skip) != (c.bad > 0) || c.bad > 0 && !strings.Contains(v.Reason, "no turn fits a row of 40 tokens") {
				t.Errorf("%s, %s: %d bad in training, RowChecker returns %s %q, want %d", turns, c.name, stats.Bad(), v.Status, v.Reason, c.bad)
			}
			if err := stats.Check(0.5, true); (err != nil) != (c.bad > 0) {
				t.Errorf("%s, %s: --max-bad-fraction: %v", turns, c.name, err)
			}
		}
	}
}

// TestNoUsableRow: a run that may skip any number of rows fails if all of them are skipped.
func TestNoUsableRow(t *testing.T) {
	broken := data.Row{Images: [][]byte{[]byte("no image")}, Turns: []data.Turn{{User: "what?", Assistant: "red"}}}
	r := testRecipe(t, 1)
	r.HoldOut, r.MaxBadFraction, r.BatchSize = 0, 1, 1
	dev := cpu.Open(0)
	defer dev.Close()
	failed := make(chan error)
	go func() {
		_, err := trainOn(t, dev, r, []string{rowsFile(t, broken, broken, broken)}, filepath.Join(t.TempDir(), "run"), false, Observer{})
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), "no row of the data can be used") || !strings.Contains(err.Error(), "cannot be decoded") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the run does not end")
	}
}

// TestTextOnlyWarning: a run warns once about a dataset without images.
func TestTextOnlyWarning(t *testing.T) {
	text := data.Row{Turns: []data.Turn{{User: "is it red?", Assistant: "yes"}}}
	withImage := data.Row{Images: [][]byte{vlmtest.Image(t, vlmtest.Colors[0].RGB, 4, 4, 20)}, Turns: text.Turns}
	for _, c := range []struct {
		name     string
		rows     []data.Row
		warnings int
	}{{"text", []data.Row{text, text}, 1}, {"one image", []data.Row{text, withImage}, 0}} {
		r := testRecipe(t, 1)
		r.HoldOut, r.BatchSize = 0, 1
		dev := cpu.Open(0)
		warnings := 0
		_, err := trainOn(t, dev, r, []string{rowsFile(t, c.rows...)}, filepath.Join(t.TempDir(), "run"), false, Observer{Warn: func(s string) {
			if strings.Contains(s, "no row of the data has an image") {
				warnings++
			}
		}})
		dev.Close()
		if err != nil || warnings != c.warnings {
			t.Errorf("%s: %d warnings, %v, want %d", c.name, warnings, err, c.warnings)
		}
	}
}

// TestNotShuffled: the shuffled control is rejected if every sample would get an identical image.
func TestNotShuffled(t *testing.T) {
	about := func(color int, answer string) data.Row {
		return data.Row{Images: [][]byte{vlmtest.Image(t, vlmtest.Colors[color].RGB, 4, 4, 20)}, Turns: []data.Turn{{User: "what?", Assistant: answer}}}
	}
	red, blue, unanswered := about(0, "red"), about(1, "blue"), about(1, "")
	for _, c := range []struct {
		name           string
		rows           []data.Row
		limit, holdOut int
		refused        bool
	}{
		{"one", []data.Row{red}, 0, 0, true},
		{"the same image", []data.Row{red, red, red}, 0, 0, true},
		{"one with an answer", []data.Row{red, unanswered}, 0, 0, true},
		{"one by --limit", []data.Row{red, blue}, 1, 0, true},
		{"one held out", []data.Row{red, blue, red}, 0, 3, true},
		{"without images", []data.Row{{Turns: red.Turns}, {Turns: blue.Turns}}, 0, 0, true},
		{"two", []data.Row{red, blue}, 0, 0, false},
		{"two, the second after many", []data.Row{red, red, red, blue}, 0, 0, false},
	} {
		o := eval.Options{Data: data.Local(rowsFile(t, c.rows...)), Limit: c.limit, HoldOut: c.holdOut}
		if err := eval.CheckControls(t.Context(), o, []string{eval.ControlNone, eval.ControlShuffled}); errors.Is(err, eval.ErrNotShuffled) != c.refused {
			t.Errorf("%s: %v, want refused %v", c.name, err, c.refused)
		}
		if err := eval.CheckControls(t.Context(), o, []string{eval.ControlNone, eval.ControlBlank}); err != nil {
			t.Errorf("%s, without shuffling: %v", c.name, err)
		}
	}
}

// TestSeqLenTooShort: --seq-len too short for any row is rejected before anything is written, and
// the error gives the length needed. Text-only data may use rows shorter than an image.
func TestSeqLenTooShort(t *testing.T) {
	images := rowsFile(t, slices.Repeat([]data.Row{{Images: [][]byte{vlmtest.Image(t, vlmtest.Colors[0].RGB, 4, 4, 20)}, Turns: []data.Turn{
		{User: "what color is the shape, if there is one at all?", Assistant: "red"}, {User: "is it red?", Assistant: "yes"}, {User: "why?"},
	}}}, 8)...)
	text := rowsFile(t, slices.Repeat([]data.Row{{Turns: []data.Turn{{User: "is it red?", Assistant: "yes"}}}}, 8)...)
	unanswered := rowsFile(t, slices.Repeat([]data.Row{{Turns: []data.Turn{{User: "is it red?"}}}}, 8)...)
	for _, c := range []struct {
		name     string
		files    []string
		turns    packing.Turns
		seqLen   int
		shortest int  // in the error; 0: no such error
		others   bool // the run fails with another error
	}{
		{"images", []string{images}, packing.SharedPrefix, 20, 73, false},
		{"images, one token short", []string{images}, packing.SharedPrefix, 72, 73, false},
		{"images, just long enough", []string{images}, packing.SharedPrefix, 73, 0, false},
		{"a conversation starts with its first turn", []string{images}, packing.InConversation, 85, 86, false},
		{"a conversation, just long enough", []string{images}, packing.InConversation, 86, 0, false},
		{"text", []string{text}, packing.SharedPrefix, 20, 0, false},
		{"text too long", []string{text}, packing.SharedPrefix, 8, 9, false},
		{"images first, then text", []string{images, text}, packing.SharedPrefix, 20, 0, false},
		{"no targets", []string{unanswered}, packing.SharedPrefix, 20, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRecipe(t, 1)
			r.SeqLen, r.Turns, r.HoldOut, r.BatchSize = c.seqLen, c.turns, 0, 1
			r.MaxBadFraction = 1 // rows that are too long are bad ones
			dev := cpu.Open(0)
			defer dev.Close()
			out := filepath.Join(t.TempDir(), "run")
			_, err := trainOn(t, dev, r, c.files, out, false, Observer{})
			var short *loader.LengthError
			errors.As(err, &short)
			switch {
			case c.shortest > 0 && short == nil:
				t.Fatalf("trained with %v, want a *loader.LengthError", err)
			case c.shortest == 0 && (short != nil || (err != nil) != c.others):
				t.Fatal(err)
			case c.shortest == 0:
				return
			}
			if short.Shortest != c.shortest || !strings.Contains(err.Error(), "--seq-len") {
				t.Errorf("%v; want %d tokens", err, c.shortest)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stat of the output folder: %v; want it not to exist", err)
			}
		})
	}
}
