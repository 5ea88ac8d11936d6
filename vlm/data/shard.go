package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go"

	"patchwork/internal/smallfile"
)

// maxGroupBytes is the largest row group that is read, unpacked.
const maxGroupBytes = 2 << 30

// A row group of more than swollenBytes that unpacks to more than swollen times its
// size in the file holds no pictures to speak of.
const (
	highlyCompressedBytes = 32 << 20
	highlyCompressedRatio = 4
)

// A shard is an open parquet file.
type shard struct {
	path    string
	size    int64
	footer  []byte
	file    *os.File
	parquet *parquet.File
	columns columns
}

// openShard checks a file's frame, footer and columns. The error is a *DataError.
func openShard(path string) (s *shard, err error) {
	s = &shard{path: path}
	if s.file, err = smallfile.Open(path, math.MaxInt64); err != nil {
		return nil, &DataError{File: path, Row: -1, Reason: cause(err), Err: err}
	}
	if err = s.open(); err != nil {
		s.close()
		return nil, &DataError{File: path, Row: -1, Reason: firstLine(err)}
	}
	return s, nil
}

func (s *shard) open() (err error) {
	defer recoverError(&err)
	if err := s.readFooter(); err != nil {
		return err
	}
	s.parquet, err = parquet.OpenFile(s.file, s.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	switch {
	case err != nil && strings.Contains(err.Error(), "DecryptionConfig"), // the footer is not encrypted, but signed
		err == nil && s.parquet.Metadata().EncryptionAlgorithm.Value != nil:
		return errors.New("it has encrypted columns, which are not read: write it anew without encryption")
	case err != nil:
		return fmt.Errorf("the footer is damaged: %w", err)
	}
	if err := s.checkRows(); err != nil {
		return err
	}
	s.columns, err = findColumns(s.parquet.Root())
	return err
}

// maxRepeatedRows is how many rows a file of fewer bytes may have. Repeated rows take
// almost none: thousands of them fit two kilobytes. A row takes memory all the same.
const maxRepeatedRows = 1 << 24

// checkRows refuses a footer that counts rows which cannot be there.
func (s *shard) checkRows() error {
	rows, most := int64(0), max(s.size, maxRepeatedRows)
	for i, g := range s.parquet.RowGroups() {
		if g.NumRows() < 0 {
			return errors.New("the footer is damaged: fewer than no rows")
		}
		for _, c := range s.parquet.Metadata().RowGroups[i].Columns {
			if c.MetaData.NumValues < g.NumRows() { // a null or an empty list counts as one
				return fmt.Errorf("the footer is damaged: row group %d counts %d rows, and a column of it %d values", i, g.NumRows(), c.MetaData.NumValues)
			}
		}
		if rows += min(g.NumRows(), most+1); rows > most {
			return fmt.Errorf("the footer counts more than %d rows, which %d bytes cannot hold", most, s.size)
		}
	}
	return nil
}

func (s *shard) close() { s.file.Close() }

// readFooter checks that the file is whole: PAR1, pages, the footer, its length
// in four bytes, PAR1.
func (s *shard) readFooter() error {
	info, err := s.file.Stat()
	if err != nil {
		return errors.New(cause(err))
	}
	const magic, encrypted, tail = "PAR1", "PARE", 8
	s.size = info.Size()
	head, end := make([]byte, 4), make([]byte, tail)
	if s.size == 0 {
		return errors.New("the file is empty")
	}
	_, err = s.file.ReadAt(head, 0)
	switch {
	case err == nil && string(head) == encrypted:
		return errors.New("an encrypted parquet file, which is not read: write it anew without encryption")
	case err != nil || string(head) != magic:
		return errors.New("not a parquet file")
	}
	if _, err := s.file.ReadAt(end, max(4, s.size-tail)); err != nil || string(end[4:]) != magic {
		return errors.New("the file is cut short: it has no footer")
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if length > s.size-4-tail {
		return errors.New("the footer is damaged: it is longer than the file")
	}
	s.footer = make([]byte, length)
	_, err = s.file.ReadAt(s.footer, s.size-tail-length)
	return err
}

// groupRows returns the number of rows in each row group.
func (s *shard) groupRows() []int {
	var rows []int
	for _, g := range s.parquet.RowGroups() {
		rows = append(rows, int(g.NumRows()))
	}
	return rows
}

// read decodes the rows of a group. It may panic on damaged pages.
func (s *shard) read(g *group) ([]Row, error) {
	groups := s.parquet.RowGroups()
	if g.index >= len(groups) || int(groups[g.index].NumRows()) != g.rows {
		return nil, errors.New("the file has changed since it was opened")
	}
	packed, unpacked := s.groupBytes(g.index)
	if unpacked > maxGroupBytes {
		return nil, fmt.Errorf("row group %d takes %d MB unpacked, more than %d MB%s", g.index, unpacked>>20, maxGroupBytes>>20, smallerGroupsHint)
	}
	pages, values := newByteBudget(packed), newByteBudget(packed)
	if unpacked > highlyCompressedBytes && unpacked > highlyCompressedRatio*packed {
		// Pages that grow far beyond the file leave garbage far beyond it.
		frequentGC.begin()
		defer frequentGC.end()
	}
	chunks := groups[g.index].ColumnChunks()
	var lists [4][][][]byte // images, users, assistants, sources: [row][entry]bytes
	for i, c := range s.columns.all() {
		var err error
		if lists[i], err = s.readColumn(c, chunks, g, pages, values); err != nil {
			return nil, fmt.Errorf("row group %d, column %s: %w", g.index, c.name, err)
		}
	}
	return assemble(g, lists[0], lists[1], lists[2], lists[3])
}

// A gcSetting is the collector's, which the process has once, lowered while anyone wants
// it: readers that each set it and put it back would leave it lowered for good.
type gcSetting struct {
	mu      sync.Mutex
	readers int
	before  int
}

var frequentGC gcSetting

func (s *gcSetting) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers++; s.readers == 1 {
		s.before = debug.SetGCPercent(10)
	}
}

func (s *gcSetting) end() {
	s.mu.Lock()
	if s.readers--; s.readers == 0 {
		debug.SetGCPercent(s.before)
	}
	s.mu.Unlock()
	debug.FreeOSMemory()
}

// readColumn returns a column's lists, [row][entry]bytes; nil where the file
// lacks the column. pages and values are what the group may still take.
func (s *shard) readColumn(c *column, chunks []parquet.ColumnChunk, g *group, pages, values *byteBudget) ([][][]byte, error) {
	if c == nil {
		return nil, nil
	}
	if err := checkPages(s.file, s.size, &s.parquet.Metadata().RowGroups[g.index].Columns[c.index].MetaData, pages); err != nil {
		return nil, err
	}
	return c.read(chunks[c.index], g.rows, values)
}

// assemble makes rows of the columns; images and sources may be nil.
func assemble(g *group, images, users, assistants, sources [][][]byte) ([]Row, error) {
	rows := make([]Row, g.rows)
	for i := range rows {
		turns, err := zip(users[i], assistants[i])
		if err != nil {
			return nil, err
		}
		rows[i] = Row{File: g.file, Index: g.firstInFile + i, Turns: turns, textError: textError(users[i], assistants[i])}
		if images != nil {
			rows[i].Images = images[i]
		}
		if sources != nil && len(sources[i]) > 0 {
			rows[i].Source = text(sources[i][0])
		}
	}
	return rows, nil
}

// groupBytes is what the footer says the columns that are read take, in the file
// and unpacked; in the file never more than there is.
func (s *shard) groupBytes(group int) (packed, unpacked int64) {
	chunks := s.parquet.Metadata().RowGroups[group].Columns
	for _, c := range s.columns.all() {
		if c != nil && c.index < len(chunks) {
			unpacked += max(0, chunks[c.index].MetaData.TotalUncompressedSize)
			packed += min(max(0, chunks[c.index].MetaData.TotalCompressedSize), s.size)
		}
	}
	return min(packed, s.size), unpacked
}

// zip joins questions and answers.
func zip(users, assistants [][]byte) ([]Turn, error) {
	if len(users) != len(assistants) {
		return nil, fmt.Errorf("%d questions and %d answers in a row", len(users), len(assistants))
	}
	turns := make([]Turn, len(users))
	for i := range turns {
		turns[i] = Turn{text(users[i]), text(assistants[i])}
	}
	return turns, nil
}

// garbled says why texts are no text in UTF-8; "" where they are.
func textError(lists ...[][]byte) string {
	for _, b := range slices.Concat(lists...) {
		switch {
		case !utf8.Valid(b):
			return "a text is not in UTF-8"
		case len(b) >= 4 && 4*bytes.Count(b, []byte{0}) >= len(b):
			return "a text is full of NUL bytes, as one in UTF-16 is"
		}
	}
	return ""
}

// text takes a value over as valid UTF-8, without a copy: nobody else has it.
func text(b []byte) string {
	return strings.ToValidUTF8(unsafe.String(unsafe.SliceData(b), len(b)), "\uFFFD")
}

// recovered, deferred, makes an error of a panic of the parquet reader.
func recoverError(err *error) {
	if r := recover(); r != nil {
		*err = errors.New("damaged: " + firstLine(fmt.Errorf("%v", r)))
	}
}

func firstLine(err error) string {
	line, _, _ := bytes.Cut([]byte(err.Error()), []byte("\n"))
	return string(line)
}
