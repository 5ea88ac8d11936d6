// Package data reads and writes image-text data sets in the FineVision schema:
// parquet files with the columns
//
//	images: list<struct<bytes: binary, path: string>>
//	audios: list<struct<bytes: binary, path: string>>
//	texts:  list<struct<user: string, assistant: string>>
//	source: string
//
// Columns are found by name. Only texts is required; a row without images and sound is text-only.
// A column with a single image struct or with binary values is read too. Other columns,
// such as ratings, are ignored, except that a column that appears to hold or name images or sound
// and cannot be read is an error.
package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"
)

// cacheBytes limits the decoded row groups that Row keeps. The newest one is kept whatever
// its size.
const cacheBytes = 64 << 20

// A Dataset is the concatenated rows of parquet files. It is safe for concurrent use.
type Dataset struct {
	files          []File
	fingerprints   []string // of each file
	versions       []string // of each file, see Versioned
	groups         []group
	rows           int
	hasImageColumn bool // in at least one file
	hasSoundColumn bool // in at least one file
	cache          *cache
	shards         shardCache
}

// A group is one row group of a file.
type group struct {
	file        File
	number      int // of the file in the data set
	index       int // in its file
	first       int // index of its first row in the data set
	firstInFile int // and in its file
	rows        int
	bytes       int64 // of its columns when decompressed, according to the footer
}

// openers is the number of files whose footers are read at once.
const openers = 8

// Open reads the footers of the files, in the given order. ctx ends all reads of the data set,
// also later ones. The error is a *DataError for the first file that is not parquet, is
// truncated, or lacks the columns.
func Open(ctx context.Context, files []File) (*Dataset, error) {
	d := &Dataset{files: files, cache: newCache(cacheBytes), shards: shardCache{ctx: ctx}}
	opened := make([]footer, len(files))
	var open errgroup.Group
	open.SetLimit(openers)
	for i, f := range files {
		open.Go(func() error {
			opened[i] = readFooter(ctx, f)
			return nil
		})
	}
	if err := open.Wait(); err != nil {
		return nil, err
	}
	for i, f := range opened {
		if f.err != nil {
			return nil, f.err
		}
		d.add(i, f)
	}
	return d, nil
}

// footer is what a data set keeps of a file's footer.
type footer struct {
	rows        []int   // of each row group
	bytes       []int64 // of each row group
	images      bool    // has a column of images
	sound       bool    // has a column of sound
	fingerprint string
	version     string
	err         error
}

func readFooter(ctx context.Context, file File) (f footer) {
	s, err := openShard(ctx, file)
	if err != nil {
		return footer{err: err}
	}
	defer s.close()
	for i, g := range s.parquet.RowGroups() {
		_, unpacked := s.groupBytes(i)
		f.rows, f.bytes = append(f.rows, int(g.NumRows())), append(f.bytes, unpacked)
	}
	f.images, f.sound, f.fingerprint = s.columns.image != nil, s.columns.sound != nil, s.fingerprint
	if v, ok := s.file.Reader.(Versioned); ok {
		f.version = v.Version()
	}
	return f
}

func (d *Dataset) add(number int, f footer) {
	d.fingerprints, d.versions = append(d.fingerprints, f.fingerprint), append(d.versions, f.version)
	d.hasImageColumn, d.hasSoundColumn = d.hasImageColumn || f.images, d.hasSoundColumn || f.sound
	inFile := 0
	for i, n := range f.rows {
		d.groups = append(d.groups, group{d.files[number], number, i, d.rows, inFile, n, f.bytes[i]})
		d.rows += n
		inFile += n
	}
}

// Close closes the files. No read may be in progress.
func (d *Dataset) Close() { d.shards.close() }

// Len returns the number of rows, usable or not.
func (d *Dataset) Len() int { return d.rows }

// Files returns the names of the files.
func (d *Dataset) Files() []string {
	names := make([]string, len(d.files))
	for i, f := range d.files {
		names[i] = f.Name()
	}
	return names
}

// Fingerprint returns the SHA-256, in hexadecimal, of the files' names without folders, their
// sizes and their footers.
func (d *Dataset) Fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join(d.fingerprints, "")))
	return hex.EncodeToString(sum[:])
}

// ImageSearchRows is the usual limit for HasImages.
const ImageSearchRows = 10_000

// HasImages reports whether one of the first maxRows rows has an image. It assumes so
// if there are more rows than that.
func (d *Dataset) HasImages(maxRows int) (bool, error) {
	return d.any(maxRows, d.hasImageColumn, func(r Row) bool { return len(r.Images) > 0 })
}

// HasSound is HasImages for clips of sound.
func (d *Dataset) HasSound(maxRows int) (bool, error) {
	return d.any(maxRows, d.hasSoundColumn, func(r Row) bool { return len(r.Clips) > 0 })
}

func (d *Dataset) any(maxRows int, column bool, has func(Row) bool) (bool, error) {
	if !column {
		return false, nil
	}
	for i := range min(maxRows, d.rows) {
		row, err := d.Row(i)
		if _, damaged := Damaged(err); damaged {
			continue
		}
		if err != nil || has(row) {
			return true, err
		}
	}
	return d.rows > maxRows, nil
}

// Index returns the number of a row by its file and its number in the file, from 0; ok is false if
// there is no such row.
func (d *Dataset) Index(file string, row int) (i int, ok bool) {
	k := slices.IndexFunc(d.groups, func(g group) bool {
		return g.file.Name() == file && row >= g.firstInFile && row < g.firstInFile+g.rows
	})
	if k < 0 {
		return 0, false
	}
	return d.groups[k].first + row - d.groups[k].firstInFile, true
}

// Place returns the file of a row and its number in the file, from 0.
func (d *Dataset) Place(row int) (file string, number int) {
	g := &d.groups[d.groupOf(row)]
	return g.file.Name(), row - g.first + g.firstInFile
}

// RowGroup returns the number of the row group of a row, counted over all files.
func (d *Dataset) RowGroup(row int) int { return d.groupOf(row) }

// groupOf returns the index of the row group that contains row i.
func (d *Dataset) groupOf(i int) int {
	return sort.Search(len(d.groups), func(k int) bool { return d.groups[k].first > i }) - 1
}

// Row returns row i, from 0. It reads the whole row group and keeps the newest groups: Stream
// is the way to read many rows out of order. The error is a *DataError if the row group cannot
// be read; rows of other groups may still be readable. The row's memory is shared with the data
// set and must not be modified.
func (d *Dataset) Row(i int) (Row, error) {
	if i < 0 || i >= d.rows {
		return Row{}, &DataError{Row: i, Reason: fmt.Sprintf("no such row; the data set has %d", d.rows)}
	}
	k := d.groupOf(i)
	g := &d.groups[k]
	rows, err := d.cache.get(k, func() ([]Row, error) { return d.readGroup(g, true) })
	if err != nil {
		return Row{}, wrapRow(d.shards.ctx, g, g.firstInFile+i-g.first, err)
	}
	return rows[i-g.first], nil
}

// readGroup decodes all rows of a group, with their sources or without.
func (d *Dataset) readGroup(g *group, sources bool) (rows []Row, err error) {
	err = d.shards.use(d, g.number, func(s *shard) error {
		rows, err = s.readRows(g, sources)
		return err
	})
	return rows, err
}

// HoldOut returns a function that reports whether a row, indexed in the whole data set
// before skipping, is held out for validation: the last of every n rows, or none if n < 1.
func HoldOut(n int) func(index int) bool {
	return func(index int) bool { return n > 0 && index%n == n-1 }
}

// A DataError reports a file or row that cannot be read.
type DataError struct {
	File   string
	Row    int // from 0; -1 for the file as a whole
	Reason string
	Err    error // of the disk or network, or that the file has changed; nil: its contents
}

func (e *DataError) Unwrap() error { return e.Err }

func (e *DataError) Error() string {
	if e.Row < 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s: row %d: %s", e.File, e.Row, e.Reason)
}
