package train

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/image"
	"patchwork/vlm/loader"
	"patchwork/vlm/pretrained"
)

// quirksDirs returns the folder of the committed quirk rows, and of the shared ones if it exists.
func quirksDirs(t *testing.T) []string {
	dirs := []string{filepath.Join("..", "data", "testdata", "quirks")}
	shared := filepath.Join("..", "..", "shared", "data", "quirks")
	if _, err := os.Stat(shared); err != nil {
		t.Logf("%s does not exist: only the committed rows are tested", shared)
		return dirs
	}
	return append(dirs, shared)
}

type quirk struct {
	Row          int
	Kind, Expect string
	Either       bool
	Turns        int
	Images       []struct {
		Width, Height int
		Quarters      [4][3]int
	}
}

// TestQuirkRows checks how training handles each row of the manifest: whether it is used, its
// number of turns, and the colours of its preprocessed images.
func TestQuirkRows(t *testing.T) {
	for _, dir := range quirksDirs(t) {
		var expected []quirk
		text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &expected))
		set, err := data.Open(t.Context(), data.Local(filepath.Join(dir, "train-00000-of-00001.parquet")))
		require.NoError(t, err)
		r, err := Preset("shapes")
		require.NoError(t, err)
		p, err := pretrained.PresetProcessor(r.Preset, r.Vision.Patches())
		require.NoError(t, err)
		for _, want := range expected {
			t.Run(filepath.Base(filepath.Dir(dir))+"/"+want.Kind, func(t *testing.T) { want.check(t, set, r, p) })
		}
	}
}

func (want quirk) check(t *testing.T, set *data.Dataset, r Recipe, p *vlm.Processor) {
	stats := data.NewRowStats(nil)
	f := loader.New(set, rowSet(want.Row), p, r.loaderConfig(r.Vision, r.Audio), stats)
	samples, err := f.Samples(want.Row)
	require.NoError(t, err)
	_, files, err := f.Row(want.Row)
	require.NoError(t, err)
	used := stats.Bad() == 0
	if used != (want.Expect == data.Use) && !want.Either {
		t.Errorf("used: %v, want %s (%s)", used, want.Expect, stats)
	}
	row, err := set.Row(want.Row)
	require.NoError(t, err)
	if v := newRowChecker(r, p).Check(row); (v.Status == data.Use) != used {
		t.Errorf("RowChecker returns %s, training used it: %v", v.Status, used)
	}
	if !used || want.Expect != data.Use {
		return
	}
	turns := stats.Counts().TurnsLost
	for _, s := range samples {
		turns += max(1, len(s.TurnStarts))
	}
	if turns != want.Turns {
		t.Errorf("%d turns, want %d", turns, want.Turns)
	}
	if len(files.Images) != len(want.Images) {
		t.Fatalf("%d images, want %d", len(files.Images), len(want.Images))
	}
	for i, img := range want.Images {
		if max(img.Width, img.Height) > 2*min(img.Width, img.Height) {
			continue // cropping keeps only the middle
		}
		cropped := &image.RGB{W: r.Vision.ImageSize, H: r.Vision.ImageSize, Pix: files.Images[i]}
		for q, colour := range img.Quarters {
			x, y := cropped.W/4+q%2*cropped.W/2, cropped.H/4+q/2*cropped.H/2
			for k, w := range colour {
				// The manifest allows 8, for lossy formats. Cropping moves the centre of a
				// quarter, where a photo has another colour.
				tolerance := 8
				if img.Width > 1000 {
					tolerance = 40
				}
				if got := int(cropped.Pix[3*(y*cropped.W+x)+k]); got-w > tolerance || w-got > tolerance {
					t.Errorf("image %d, quarter %d: channel %d is %d, want %d", i, q, k, got, w)
				}
			}
		}
	}
}

// TestQuirkFiles: training uses a file or fails with an error; a damaged part of a file only costs
// its rows.
func TestQuirkFiles(t *testing.T) {
	for _, dir := range quirksDirs(t) {
		var expected []struct{ File, Expect string }
		text, err := os.ReadFile(filepath.Join(dir, "files", "expected.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &expected))
		for _, want := range expected {
			r := testRecipe(t, 1)
			r.HoldOut = 0
			file, out := filepath.Join(dir, "files", want.File), filepath.Join(t.TempDir(), "run")
			result, err := trainOn(t, cpu.Open(0), r, []string{file}, out, false, Observer{})
			if want.Expect == data.Use && want.File != "zero_rows.parquet" {
				if err != nil || result.Steps != 1 {
					t.Errorf("%s: %v", want.File, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s: was trained on", want.File)
			}
		}
	}
}

// TestBadRowsFile: skipped rows are listed once, over epochs and after resuming, and a truncated
// line is written again.
func TestBadRowsFile(t *testing.T) {
	file := filepath.Join("..", "data", "testdata", "quirks", "train-00000-of-00001.parquet")
	r := testRecipe(t, 8)
	r.MaxBadFraction, r.HoldOut, r.SeqLen = 0.5, 0, 400
	out := filepath.Join(t.TempDir(), "run")
	first := r
	first.Steps = 8
	result, err := trainOn(t, cpu.Open(0), first, []string{file}, out, false, Observer{})
	require.NoError(t, err)
	path := filepath.Join(out, data.BadRowsFile)
	list := func() map[int]string {
		b, err := data.OpenBadRows(path)
		require.NoError(t, err)
		rows := map[int]string{}
		for _, row := range b.Earlier() {
			rows[row.Row] = row.Reason
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := 0
		for _, c := range text {
			if c == '\n' {
				lines++
			}
		}
		if lines != len(rows) || lines != len(b.Earlier()) {
			t.Errorf("%d lines, %d rows", lines, len(rows))
		}
		return rows
	}
	before := list()
	if result.RowsSkipped == 0 || len(before) < result.RowsSkipped || before[41] != "no turn has an answer" {
		t.Errorf("%d rows skipped, listed %v", result.RowsSkipped, before)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)-5], 0o644))
	b, err := data.OpenBadRows(path)
	require.NoError(t, err)
	stats := data.NewRowStats(nil)
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	stats.ListTo(b, set)
	if stats.Bad() != len(before)-1 {
		t.Errorf("%d rows are known from the list, want %d", stats.Bad(), len(before)-1)
	}
	if err := stats.Check(0, true); err != nil {
		t.Errorf("only rows of an earlier process: %v", err)
	}
	for row, reason := range before {
		stats.Record(row, data.Verdict{File: file, Row: row, Status: data.Skip, Reason: reason})
	}
	require.NoError(t, b.Close())
	if after := list(); len(after) != len(before) || stats.Bad() != len(before) {
		t.Errorf("%d rows listed and %d counted after resuming, want %d", len(after), stats.Bad(), len(before))
	}
	var bad *data.BadRowsError
	if err := stats.Check(0.9, true); !errors.As(err, &bad) || bad.Bad != len(before) {
		t.Errorf("all rows are bad: %v", err)
	}
}

func rowSet(rows ...int) *data.RowSet {
	var s data.RowSet
	for _, i := range rows {
		s.Add(i)
	}
	return &s
}

// rowsTo returns rows 0 to n-1.
func rowsTo(n int) *data.RowSet {
	var s data.RowSet
	for i := range n {
		s.Add(i)
	}
	return &s
}
