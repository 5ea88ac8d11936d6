package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// maxGroupBytes is the decompressed size of the largest row group that is read.
const maxGroupBytes = 2 << 30

// A row group is highly compressed if it decompresses to more than highlyCompressedBytes
// and highlyCompressedRatio times its size in the file. Groups of photographs are not.
const (
	highlyCompressedBytes = 32 << 20
	highlyCompressedRatio = 4
)

// A shard is an open parquet file.
type shard struct {
	file        *failingReader
	size        int64
	footer      []byte
	fingerprint string // its name without folders, its size and the SHA-256 of its footer
	parquet     *parquet.File
	columns     columns
}

// openShard opens a file and checks its magic, footer and columns. ctx ends its reads, also
// later ones. The error is a *DataError or ctx's.
func openShard(ctx context.Context, f File) (*shard, error) {
	file, err := f.Open(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &DataError{File: f.Name(), Row: -1, Reason: cause(err), Err: err}
	}
	s := &shard{file: &failingReader{Reader: file}, size: file.Size()}
	if err := s.open(); err != nil {
		s.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &DataError{File: f.Name(), Row: -1, Reason: firstLine(err), Err: s.file.failure()}
	}
	s.fingerprint = fmt.Sprintf("%s\x00%d\x00%x\n", path.Base(filepath.ToSlash(f.Name())), s.size, sha256.Sum256(s.footer))
	return s, nil
}

func (s *shard) open() (err error) {
	defer recoverError(&err)
	if err := s.readFooter(); err != nil {
		return err
	}
	s.parquet, err = parquet.OpenFile(s.file, s.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	switch {
	case err != nil && strings.Contains(err.Error(), "DecryptionConfig"), // a plaintext, signed footer
		err == nil && s.parquet.Metadata().EncryptionAlgorithm.Value != nil:
		return errors.New("encrypted columns are not read: rewrite the file without encryption")
	case err != nil:
		return fmt.Errorf("the footer is damaged: %w", err)
	}
	if err := s.checkRows(); err != nil {
		return err
	}
	s.columns, err = findColumns(s.parquet.Root())
	return err
}

// maxRepeatedRows limits the rows of a file that has fewer bytes than that. Repeated rows
// compress to almost nothing, thousands of them to 2 KB, but each takes memory.
const maxRepeatedRows = 1 << 24

// checkRows rejects a footer with impossible row counts.
func (s *shard) checkRows() error {
	rows, limit := int64(0), max(s.size, maxRepeatedRows)
	for i, g := range s.parquet.RowGroups() {
		if g.NumRows() < 0 {
			return errors.New("the footer is damaged: negative row count")
		}
		for _, c := range s.parquet.Metadata().RowGroups[i].Columns {
			if c.MetaData.NumValues < g.NumRows() { // a null or an empty list counts as one
				return fmt.Errorf("the footer is damaged: row group %d has %d rows, but one of its columns has %d values", i, g.NumRows(), c.MetaData.NumValues)
			}
		}
		if rows += min(g.NumRows(), limit+1); rows > limit {
			return fmt.Errorf("the footer is damaged: more than %d rows in %d bytes", limit, s.size)
		}
	}
	return nil
}

func (s *shard) close() { s.file.Close() }

// readFooter checks the file's layout (PAR1, pages, footer, footer length as uint32, PAR1)
// and reads the footer.
func (s *shard) readFooter() error {
	const magic, encrypted, tail = "PAR1", "PARE", 8
	head, end := make([]byte, 4), make([]byte, tail)
	if s.size == 0 {
		return errors.New("the file is empty")
	}
	_, err := s.file.ReadAt(head, 0)
	switch {
	case err == nil && string(head) == encrypted:
		return errors.New("encrypted parquet files are not read: rewrite it without encryption")
	case err != nil && err != io.EOF:
		return err
	case err != nil || string(head) != magic:
		return errors.New("not a parquet file")
	}
	_, err = s.file.ReadAt(end, max(4, s.size-tail))
	if err != nil && err != io.EOF {
		return err
	}
	if err != nil || string(end[4:]) != magic {
		return errors.New("the file is truncated: it has no footer")
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if length > s.size-4-tail {
		return errors.New("the footer is damaged: it is longer than the file")
	}
	s.footer = make([]byte, length)
	_, err = s.file.ReadAt(s.footer, s.size-tail-length)
	return err
}

// readRows is read with panics of the parquet reader turned into errors. An error of the disk
// or network is a *DataError.
func (s *shard) readRows(g *group, sources bool) (rows []Row, err error) {
	defer func() {
		if failed := s.file.failure(); err != nil && failed != nil {
			err = &DataError{File: g.file.Name(), Row: -1, Reason: cause(failed), Err: failed}
		}
	}()
	defer recoverError(&err)
	return s.read(g, sources)
}

// read decodes the rows of a group, with their sources or without. It may panic on damaged
// pages; see recoverError.
func (s *shard) read(g *group, sources bool) ([]Row, error) {
	groups := s.parquet.RowGroups()
	packed, unpacked := s.groupBytes(g.index)
	if unpacked > maxGroupBytes {
		return nil, fmt.Errorf("row group %d has %d MB when decompressed, more than %d MB%s", g.index, unpacked>>20, maxGroupBytes>>20, smallerGroupsHint)
	}
	pages, values := newByteBudget(packed), newByteBudget(packed)
	if unpacked > highlyCompressedBytes && unpacked > highlyCompressedRatio*packed {
		// Decompressing such pages leaves much more garbage than the file's size.
		frequentGC.begin()
		defer frequentGC.end()
	}
	chunks := groups[g.index].ColumnChunks()
	var lists [5][][][]byte // images, clips, users, assistants, sources: [row][entry]bytes
	for i, c := range s.columns.all() {
		if c == s.columns.source && !sources {
			continue
		}
		var err error
		if lists[i], err = s.readColumn(c, chunks, g, pages, values); err != nil {
			return nil, fmt.Errorf("row group %d, column %s: %w", g.index, c.name, err)
		}
	}
	return assemble(g, lists[0], lists[1], lists[2], lists[3], lists[4])
}

// A gcSetting lowers the garbage collector's percentage while at least one reader needs
// it. It is reference-counted because the setting is global: readers that each set and
// restored it could leave it lowered.
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

// readColumn returns a column's lists, [row][entry]bytes, or nil if c is nil. pages and
// values are the group's budgets for decompressed pages and copied values.
func (s *shard) readColumn(c *column, chunks []parquet.ColumnChunk, g *group, pages, values *byteBudget) ([][][]byte, error) {
	if c == nil {
		return nil, nil
	}
	if err := checkPages(s.file, s.size, &s.parquet.Metadata().RowGroups[g.index].Columns[c.index].MetaData, pages); err != nil {
		return nil, err
	}
	return c.read(chunks[c.index], g.rows, values)
}

// assemble makes rows from columns; images, clips and sources may be nil.
func assemble(g *group, images, clips, users, assistants, sources [][][]byte) ([]Row, error) {
	rows := make([]Row, g.rows)
	for i := range rows {
		turns, err := zip(users[i], assistants[i])
		if err != nil {
			return nil, err
		}
		rows[i] = Row{File: g.file.Name(), Index: g.firstInFile + i, Turns: turns, textError: textError(users[i], assistants[i])}
		if images != nil {
			rows[i].Images = images[i]
		}
		if clips != nil {
			rows[i].Clips = clips[i]
		}
		if sources != nil && len(sources[i]) > 0 {
			rows[i].Source = text(sources[i][0])
		}
	}
	return rows, nil
}

// prefetch tells the reader of a file that is not on disk which bytes of a group come next.
func (s *shard) prefetch(g *group) {
	p, ok := s.file.Reader.(Prefetcher)
	if !ok {
		return
	}
	chunks := s.parquet.Metadata().RowGroups[g.index].Columns
	for _, c := range s.columns.all() {
		if c != nil && c != s.columns.source {
			p.Prefetch(chunkRange(&chunks[c.index].MetaData))
		}
	}
}

// groupBytes returns the size of the columns to read according to the footer, in the file
// (at most the file's size) and decompressed.
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

// zip pairs questions with answers.
func zip(users, assistants [][]byte) ([]Turn, error) {
	if len(users) != len(assistants) {
		return nil, fmt.Errorf("a row has %d questions and %d answers", len(users), len(assistants))
	}
	turns := make([]Turn, len(users))
	for i := range turns {
		turns[i] = Turn{text(users[i]), text(assistants[i])}
	}
	return turns, nil
}

// textError returns why texts are not valid UTF-8 text, or "".
func textError(lists ...[][]byte) string {
	for _, b := range slices.Concat(lists...) {
		switch {
		case !utf8.Valid(b):
			return "a text is not in UTF-8"
		case len(b) >= 4 && 4*bytes.Count(b, []byte{0}) >= len(b):
			return "a text is full of NUL bytes (UTF-16?)"
		}
	}
	return ""
}

// text returns b as valid UTF-8 without copying; b must not be modified afterwards.
func text(b []byte) string {
	return strings.ToValidUTF8(unsafe.String(unsafe.SliceData(b), len(b)), "\uFFFD")
}

// recoverError, deferred, turns a panic of the parquet reader into an error.
func recoverError(err *error) {
	if r := recover(); r != nil {
		*err = errors.New("damaged: " + firstLine(fmt.Errorf("%v", r)))
	}
}

func firstLine(err error) string {
	line, _, _ := bytes.Cut([]byte(err.Error()), []byte("\n"))
	return string(line)
}
