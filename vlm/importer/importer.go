// Package importer creates data sets in the FineVision schema from folders of images with
// captions in text files, or from lists of images and texts in JSONL, JSON, CSV or TSV.
package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/vlm/data"
)

// Options are the settings of an import.
type Options struct {
	Paths        []string // folders, lists (.jsonl, .json, .csv, .tsv), images
	Out          string   // a new or empty folder
	Prompts      []string // questions for captions; one is chosen at random for each
	Seed         uint64
	TestFraction float64       // fraction of the rows for a test set
	ShardRows    int           // rows per file; 0 = 10,000
	CaptionLines int           // number of leading lines of a caption to use; 0 = all
	FollowLinks  bool          // follow links and paths that lead out of the sources
	Skipped      func(Skipped) // called for each unusable entry; may be nil
	Note         func(string)  // called with remarks on input that was ignored or changed; may be nil
}

// Skipped is an entry that cannot be used.
type Skipped struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // of a list, from 1
	Reason string `json:"reason"`
}

// Result summarizes an import.
type Result struct {
	Out      string         `json:"out"`
	Files    []string       `json:"files"`
	Rows     int            `json:"rows"`
	TestRows int            `json:"test_rows"`
	ValRows  int            `json:"validation_rows"`
	Turns    int            `json:"turns"`
	Images   int            `json:"pictures"`
	Bytes    int64          `json:"bytes"` // of the images
	Skipped  int            `json:"skipped"`
	Reasons  map[string]int `json:"reasons"`
}

// ErrNotEmpty reports an output folder that is not empty.
var ErrNotEmpty = errors.New("is not empty; choose another --out")

// SourceError reports a path with nothing to import, or a list that cannot be read.
type SourceError struct{ Path, Reason string }

func (e *SourceError) Error() string { return e.Path + ": " + e.Reason }

// entry is a row before its images are read.
type entry struct {
	source *source
	file   string // the image or list, for messages
	line   int
	images []imageFile
	turns  []data.Turn
	split  string // that its folder or list is named after; may be ""
	failed string // why it cannot be used; "" if it may be usable
}

// imageFile is an image's file, or its bytes.
type imageFile struct {
	path  string
	bytes []byte
	named bool // given by the user: the path may lead anywhere
}

// DefaultPrompt is the default question of a caption.
const DefaultPrompt = "Describe this picture."

// Import reads the sources, checks every image by decoding it, and writes train-*.parquet
// and, for other splits, validation-*.parquet and test-*.parquet. Either all files appear
// or none. Unusable entries are skipped; it is a *SourceError if there is no usable one.
func Import(ctx context.Context, o Options) (Result, error) {
	if len(o.Prompts) == 0 {
		o.Prompts = []string{DefaultPrompt}
	}
	o.ShardRows = cmp.Or(o.ShardRows, defaultShardRows)
	if err := checkOut(o.Out); err != nil {
		return Result{}, err
	}
	c, err := collect(ctx, o)
	defer c.close()
	if err != nil {
		return Result{}, err
	}
	entries := c.entries
	w, err := newShards(o)
	if err != nil {
		return Result{}, err
	}
	i := &importRun{Options: o, out: w, result: Result{Out: o.Out, Reasons: map[string]int{}}}
	for _, e := range entries {
		if err = ctx.Err(); err == nil {
			err = i.add(e)
		}
		if err != nil {
			return i.result, errors.Join(err, w.abandon())
		}
	}
	if i.result.Rows+i.result.TestRows+i.result.ValRows == 0 {
		err := &SourceError{o.Paths[0], fmt.Sprintf("none of %d entries can be used%s%s", len(entries), i.firstReason(), c.listsBelow())}
		return i.result, errors.Join(err, w.abandon())
	}
	i.result.Files, err = w.finish()
	if err == nil {
		i.reportNotes(c)
	}
	return i.result, err
}

// reportNotes reports, once each, input that was ignored or changed.
func (i *importRun) reportNotes(c *collector) {
	if i.Note == nil {
		return
	}
	if c.long > 0 {
		i.Note(fmt.Sprintf("%d captions have more than %d characters, the longest %d: %s; they may not fit a training row (--caption-lines 1 uses only first lines)",
			c.long, longCaption, c.longest, c.longestFile))
	}
	if c.unlisted > 0 {
		i.Note(fmt.Sprintf("%d images are skipped because no usable entry of the list in their folder names them, the first %s", c.unlisted, c.firstUnlisted))
	}
	if c.systemMessages > 0 {
		i.Note(fmt.Sprintf("%d system messages are dropped: a row has only questions and answers", c.systemMessages))
	}
	for _, name := range slices.Sorted(maps.Keys(c.unused)) {
		i.Note(fmt.Sprintf("the field %s of %d entries is not read: put the model's input into the question, its output into the answer", name, c.unused[name]))
	}
	if c.unanswered > 0 {
		i.Note(fmt.Sprintf("%d questions without an answer are dropped", c.unanswered))
	}
	if c.joined > 0 {
		i.Note(fmt.Sprintf("%d messages are joined with the one before, by the same speaker", c.joined))
	}
	if i.result.Images == 0 {
		i.Note("no row has an image")
	}
}

func checkOut(out string) error {
	entries, err := os.ReadDir(out)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s %w", out, ErrNotEmpty)
	}
	return err
}

// importRun is the state of an import.
type importRun struct {
	Options
	out    *shards
	result Result
	first  string // the first reason for skipping an entry
}

func (i *importRun) firstReason() string {
	if i.first == "" {
		return ""
	}
	return "; the first: " + i.first
}

// add reads an entry's images and writes its row, or skips it.
func (i *importRun) add(e entry) error {
	row := data.Row{Turns: e.turns, Source: filepath.Base(e.file)}
	reason, where := e.failed, ""
	for _, m := range e.images {
		if reason != "" {
			break
		}
		bytes, err := e.source.readImage(m)
		if err != nil {
			reason, where = cause(err), m.name()+": "
		}
		row.Images = append(row.Images, bytes)
	}
	if reason == "" {
		v := data.Check(row)
		reason = v.Reason
		if rest, ok := strings.CutPrefix(reason, "image 1 "); ok && len(e.images) == 1 {
			reason, where = rest, e.images[0].name()+": "
		}
	}
	if reason != "" {
		i.skip(e, where, reason)
		return nil
	}
	row.Turns = row.Answered()
	split := cmp.Or(e.split, i.split())
	if err := i.out.write(row, split); err != nil {
		return err
	}
	switch split {
	case test:
		i.result.TestRows++
	case validation:
		i.result.ValRows++
	default:
		i.result.Rows++
	}
	i.result.Turns += len(row.Turns)
	i.result.Images += len(row.Images)
	for _, image := range row.Images {
		i.result.Bytes += int64(len(image))
	}
	return nil
}

// skip counts and reports an unusable entry.
func (i *importRun) skip(e entry, where, reason string) {
	i.result.Skipped++
	i.result.Reasons[data.ShortReason(reason)]++
	i.first = cmp.Or(i.first, fmt.Sprintf("%s: %s%s", e.file, where, reason))
	if i.Skipped != nil {
		i.Skipped(Skipped{e.file, e.line, where + reason})
	}
}

// split chooses the split of the next row; test rows are spread evenly.
func (i *importRun) split() string {
	n := float64(i.result.Rows + i.result.TestRows)
	if int((n+1)*i.TestFraction) > int(n*i.TestFraction) {
		return test
	}
	return train
}

// prompt chooses the question for the caption of entry index, as a function of Seed and
// index alone.
func (o Options) prompt(index int) string {
	if len(o.Prompts) == 1 {
		return o.Prompts[0]
	}
	return o.Prompts[rand.New(rand.NewPCG(o.Seed, uint64(index))).IntN(len(o.Prompts))]
}
