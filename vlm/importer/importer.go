// Package importer makes data sets in the FineVision schema of people's own pictures:
// pictures with captions beside them in text files, or lists of pictures and texts in
// JSONL, CSV or TSV.
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

// Options say what to import, and how.
type Options struct {
	Paths        []string // folders, lists (.jsonl, .json, .csv, .tsv), pictures
	Out          string   // a folder that is not there, or empty
	Prompts      []string // questions for captions; one is picked for each
	Seed         uint64
	TestFraction float64 // share of the rows for a test set
	ShardRows    int     // rows of a file
	CaptionLines int     // of a caption's file, the first ones; 0 = all
	FollowLinks  bool    // read what links and paths that lead out of the sources name
	Skipped      func(Skipped)
	Note         func(string) // of what was read otherwise than it may be meant; nil: nobody
}

// Skipped is an entry that cannot be used.
type Skipped struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // of a list, from 1
	Reason string `json:"reason"`
}

// Result says what was made.
type Result struct {
	Out      string         `json:"out"`
	Files    []string       `json:"files"`
	Rows     int            `json:"rows"`
	TestRows int            `json:"test_rows"`
	ValRows  int            `json:"validation_rows"`
	Turns    int            `json:"turns"`
	Images   int            `json:"pictures"`
	Bytes    int64          `json:"bytes"` // of the pictures
	Skipped  int            `json:"skipped"`
	Reasons  map[string]int `json:"reasons"`
}

// ErrNotEmpty is an output folder that holds something.
var ErrNotEmpty = errors.New("is not empty; give another --out")

// SourceError is a path that holds nothing to import, or a list that makes no sense
// as a whole.
type SourceError struct{ Path, Reason string }

func (e *SourceError) Error() string { return e.Path + ": " + e.Reason }

// entry is a row before its pictures are read.
type entry struct {
	source *source
	file   string // where it is from, for messages
	line   int
	images []imageFile
	turns  []data.Turn
	split  string // that its folder or its list is; "" where it has none
	failed string // why it cannot be used; "": it may be
}

// imageFile is an image's file, or its bytes.
type imageFile struct {
	path  string
	bytes []byte
	named bool // by the user: the path may lead anywhere
}

// DefaultPrompt asks for a caption.
const DefaultPrompt = "Describe this picture."

// Import reads the sources, decodes every picture once to see that it can be used, and
// writes train-*.parquet and, with a TestFraction, test-*.parquet. Either all files
// appear or none.
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
		err := &SourceError{o.Paths[0], fmt.Sprintf("no entry of %d can be used%s%s", len(entries), i.firstReason(), c.listsBelow())}
		return i.result, errors.Join(err, w.abandon())
	}
	i.result.Files, err = w.finish()
	if err == nil {
		i.reportNotes(c)
	}
	return i.result, err
}

// notes tells, once each, of what may not be as it was meant.
func (i *importRun) reportNotes(c *collector) {
	if i.Note == nil {
		return
	}
	if c.long > 0 {
		i.Note(fmt.Sprintf("%d captions have more than %d characters, the longest %d: %s; a row of training may be too short for them (--caption-lines 1 takes first lines alone)",
			c.long, longCaption, c.longest, c.longestFile))
	}
	if c.unlisted > 0 {
		i.Note(fmt.Sprintf("%d pictures are named by no usable entry of the list beside them and are left out, the first %s", c.unlisted, c.firstUnlisted))
	}
	if c.systemMessages > 0 {
		i.Note(fmt.Sprintf("%d messages by the system are left out: a row has questions and answers", c.systemMessages))
	}
	for _, name := range slices.Sorted(maps.Keys(c.unused)) {
		i.Note(fmt.Sprintf("the field %s of %d entries is left out: what the model is to read belongs into the question, what it is to say into the answer", name, c.unused[name]))
	}
	if c.unanswered > 0 {
		i.Note(fmt.Sprintf("%d questions have no answer and are left out", c.unanswered))
	}
	if c.joined > 0 {
		i.Note(fmt.Sprintf("%d messages follow another of the same speaker and are joined with it", c.joined))
	}
	if i.result.Images == 0 {
		i.Note("no row has a picture")
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

// importing is an import under way.
type importRun struct {
	Options
	out    *shards
	result Result
	first  string // reason
}

func (i *importRun) firstReason() string {
	if i.first == "" {
		return ""
	}
	return "; the first: " + i.first
}

// add reads an entry's pictures and writes its row.
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
		if bare, ok := strings.CutPrefix(reason, "image 1 "); ok && len(e.images) == 1 {
			reason, where = bare, e.images[0].name()+": "
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

// skip counts an entry that cannot be used, by its reason without details.
func (i *importRun) skip(e entry, where, reason string) {
	i.result.Skipped++
	i.result.Reasons[data.ShortReason(reason)]++
	i.first = cmp.Or(i.first, fmt.Sprintf("%s: %s%s", e.file, where, reason))
	if i.Skipped != nil {
		i.Skipped(Skipped{e.file, e.line, where + reason})
	}
}

// split spreads the test set's rows evenly over the data.
func (i *importRun) split() string {
	n := float64(i.result.Rows + i.result.TestRows)
	if int((n+1)*i.TestFraction) > int(n*i.TestFraction) {
		return test
	}
	return train
}

// prompt picks a question for the caption of a picture. It depends on nothing but
// the seed and the picture's place.
func (o Options) prompt(place int) string {
	if len(o.Prompts) == 1 {
		return o.Prompts[0]
	}
	return o.Prompts[rand.New(rand.NewPCG(o.Seed, uint64(place))).IntN(len(o.Prompts))]
}
