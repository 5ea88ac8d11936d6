// Package data reads and writes image-text data sets in the FineVision schema:
// parquet files with the columns
//
//	images: list<struct<bytes: binary, path: string>>
//	texts:  list<struct<user: string, assistant: string>>
//	source: string
//
// Columns are found by name. Only texts is required; a row without images is text-only.
// A column with a single image struct or with binary values is read too. Other columns,
// such as ratings, are ignored, except that a column that appears to hold or name images
// and cannot be read is an error.
package data

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"syscall"
)

// cacheBytes limits the decoded row groups that a Dataset keeps. The newest one is kept
// whatever its size.
const cacheBytes = 256 << 20

// A Dataset is the concatenated rows of parquet files. It keeps no file open and reads a
// row group when one of its rows is requested. It is safe for concurrent use.
type Dataset struct {
	files          []string
	groups         []group
	rows           int
	fingerprint    string
	hasImageColumn bool // in at least one file
	cache          *cache
}

// A group is one row group of a file.
type group struct {
	file        string
	index       int // in its file
	first       int // index of its first row in the data set
	firstInFile int // and in its file
	rows        int
}

// Open reads the footers of the files, in the given order. The error is a *DataError for
// the first file that is not parquet, is truncated, or lacks the columns.
func Open(files []string) (*Dataset, error) {
	d := &Dataset{files: files, cache: newCache(cacheBytes)}
	hash := sha256.New()
	for _, path := range files {
		s, err := openShard(path)
		if err != nil {
			return nil, err
		}
		d.add(path, s.groupRows())
		d.hasImageColumn = d.hasImageColumn || s.columns.image != nil
		fmt.Fprintf(hash, "%s\x00%d\x00%x\n", filepath.Base(path), s.size, sha256.Sum256(s.footer))
		s.close()
	}
	d.fingerprint = hex.EncodeToString(hash.Sum(nil))
	return d, nil
}

func (d *Dataset) add(path string, groupRows []int) {
	inFile := 0
	for i, n := range groupRows {
		d.groups = append(d.groups, group{path, i, d.rows, inFile, n})
		d.rows += n
		inFile += n
	}
}

// Len returns the number of rows, usable or not.
func (d *Dataset) Len() int { return d.rows }

// Files returns the paths that were opened.
func (d *Dataset) Files() []string { return d.files }

// Fingerprint returns the SHA-256, in hexadecimal, of the files' names without
// folders, their sizes and their footers.
func (d *Dataset) Fingerprint() string { return d.fingerprint }

// ImageSearchRows is the usual limit for HasImages.
const ImageSearchRows = 10_000

// HasImages reports whether one of the first maxRows rows has an image. It assumes so
// if there are more rows than that.
func (d *Dataset) HasImages(maxRows int) (bool, error) {
	if !d.hasImageColumn {
		return false, nil
	}
	for i := range min(maxRows, d.rows) {
		row, err := d.Row(i)
		if _, damaged := Damaged(err); damaged {
			continue
		}
		if err != nil || len(row.Images) > 0 {
			return true, err
		}
	}
	return d.rows > maxRows, nil
}

// Index returns the number of a row by its file and its number in the file, from 0; ok is false if
// there is no such row.
func (d *Dataset) Index(file string, row int) (i int, ok bool) {
	k := slices.IndexFunc(d.groups, func(g group) bool {
		return g.file == file && row >= g.firstInFile && row < g.firstInFile+g.rows
	})
	if k < 0 {
		return 0, false
	}
	return d.groups[k].first + row - d.groups[k].firstInFile, true
}

// groupOf returns the index of the row group that contains row i.
func (d *Dataset) groupOf(i int) int {
	return sort.Search(len(d.groups), func(k int) bool { return d.groups[k].first > i }) - 1
}

// Row returns row i, from 0. The error is a *DataError if the row group cannot be read;
// rows of other groups may still be readable. The row's memory is shared with the data
// set and must not be modified.
func (d *Dataset) Row(i int) (Row, error) {
	if i < 0 || i >= d.rows {
		return Row{}, &DataError{Row: i, Reason: fmt.Sprintf("no such row; the data set has %d", d.rows)}
	}
	k := d.groupOf(i)
	g := &d.groups[k]
	rows, err := d.cache.get(k, func() ([]Row, error) { return readGroup(g) })
	if err != nil {
		e := &DataError{File: g.file, Row: g.firstInFile + i - g.first, Reason: firstLine(err)}
		var system syscall.Errno
		if errors.As(err, &system) {
			e.Err = system
		}
		return Row{}, e
	}
	return rows[i-g.first], nil
}

// readGroup decodes all rows of a group.
func readGroup(g *group) (rows []Row, err error) {
	s, err := openShard(g.file)
	if err != nil {
		return nil, err
	}
	defer s.close()
	defer recoverError(&err)
	return s.read(g)
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
	Err    error // the operating system's error, if that is the cause; else nil
}

func (e *DataError) Unwrap() error { return e.Err }

func (e *DataError) Error() string {
	if e.Row < 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s: row %d: %s", e.File, e.Row, e.Reason)
}
