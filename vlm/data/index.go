package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"patchwork/internal/durable"
	"patchwork/internal/smallfile"
)

// IndexFolder is the hidden folder beside data files that holds their indices.
const IndexFolder = ".vlmtool"

// IndexEntry is what an Index knows of a row. Text and images are learnt at different times, so
// each is optional.
type IndexEntry struct {
	Row int // in the data set

	Encoded bool   // Lengths and Reason are known
	Lengths []int  // tokens of each packed sample of the row; none if the row is bad
	Reason  string // why the row is bad; "" if it is not

	Images []Size // upright sizes; nil if not known
}

// An Index keeps, for the rows of a data set, the lengths of their samples, the reasons why rows
// are bad, and the sizes of images, so that an epoch can be planned without encoding it again.
// There is a file for each data file, beside it in IndexFolder or, where that cannot be written,
// in the user's cache folder. An entry that is missing costs time, never correctness.
//
// The file consists of blocks: the length of the payload and its CRC-32C as little-endian
// uint32, then the payload. The first payload is a JSON object that says what the index is of,
// the others are entries, see appendEntry. Blocks are appended by one write each, so that a
// killed process loses at most the last one, and several may write. It is safe for concurrent
// use.
type Index struct {
	d      *Dataset
	shards []*shardIndex
}

// shardIndex is the index of a file. Numbers of rows are those in the file.
type shardIndex struct {
	header []byte
	paths  []string // where it may be, the best first

	mu      sync.Mutex
	lengths []uint32       // by row: 0 unknown, 1 + tokens of the only sample, or manySamples + index into many
	many    [][]int        // of rows with no sample or several
	reasons map[int]string // of bad rows
	images  map[int][]Size // of rows with other than one image
	size    []uint32       // by row: width<<16 | height of the only image, 0 unknown
	known   int            // rows with a length
	path    string         // the file in use
	failed  error          // nothing more is written
}

const manySamples = 1 << 31

// indexHeader is the first block of an index.
type indexHeader struct {
	Format  int    `json:"format"`
	File    string `json:"file"`    // fingerprint of the data file
	Version string `json:"version"` // see Versioned
	Key     string `json:"key"`     // of the tokenizer and the settings that lengths depend on
	Rows    int    `json:"rows"`
}

const indexFormat = 1

// OpenIndex reads the indices of the files of a data set, as far as there are any. key stands for
// all that the lengths depend on besides the files.
func OpenIndex(d *Dataset, key string) *Index {
	x := &Index{d: d}
	rows := make([]int, len(d.files))
	for _, g := range d.groups {
		rows[g.number] += g.rows
	}
	for i, f := range d.files {
		h := indexHeader{indexFormat, d.fingerprints[i], d.versions[i], key, rows[i]}
		header, _ := json.Marshal(h) // strings and integers
		s := &shardIndex{
			header: header, paths: indexPaths(f, header), lengths: make([]uint32, rows[i]), size: make([]uint32, rows[i]),
			reasons: map[int]string{}, images: map[int][]Size{},
		}
		s.load()
		x.shards = append(x.shards, s)
	}
	return x
}

// indexPaths returns where the index of a file may be: beside it and in the cache folder.
func indexPaths(f File, header []byte) (paths []string) {
	sum := sha256.Sum256(header)
	if local, ok := f.(localFile); ok {
		dir, base := filepath.Split(string(local))
		paths = append(paths, filepath.Join(dir, IndexFolder, fmt.Sprintf("%s.%x.rows", base, sum[:6])))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		paths = append(paths, filepath.Join(cache, "patchwork", "rows", hex.EncodeToString(sum[:16])+".rows"))
	}
	return paths
}

// load reads the first index that is of the file.
func (s *shardIndex) load() {
	for _, path := range s.paths {
		data, err := smallfile.Read(path, smallfile.Log)
		if err != nil {
			continue
		}
		header, rest, ok := nextBlock(data)
		if !ok || !bytes.Equal(header, s.header) {
			continue
		}
		s.path = path
		for {
			payload, after, ok := nextBlock(rest)
			if !ok || !s.decode(payload) {
				break
			}
			rest = after
		}
		if len(rest) > 0 && os.Truncate(path, int64(len(data)-len(rest))) != nil {
			s.path = "" // a damaged end, left by a killed process, would hide what is appended
		}
		return
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// nextBlock cuts the first block off; ok is false at the end and where the data is damaged.
func nextBlock(data []byte) (payload, rest []byte, ok bool) {
	const head = 8
	if len(data) < head {
		return nil, nil, false
	}
	n := binary.LittleEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-head) {
		return nil, nil, false
	}
	payload, rest = data[head:head+n], data[head+n:]
	return payload, rest, crc32.Checksum(payload, castagnoli) == binary.LittleEndian.Uint32(data[4:])
}

func appendBlock(to, payload []byte) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(payload)))
	to = binary.LittleEndian.AppendUint32(to, crc32.Checksum(payload, castagnoli))
	return append(to, payload...)
}

// Bits of an entry's second number.
const (
	hasText = 1 << iota
	hasReason
	hasImages
)

// appendEntry appends an entry as uvarints: row, bits, then if hasText the number of samples and
// their lengths, if hasReason the length of the reason and the reason, if hasImages the number of
// images and their widths and heights.
func appendEntry(to []byte, row int, e IndexEntry) []byte {
	bits := uint64(0)
	if e.Encoded {
		bits |= hasText
	}
	if e.Reason != "" {
		bits |= hasReason
	}
	if e.Images != nil {
		bits |= hasImages
	}
	to = binary.AppendUvarint(to, uint64(row))
	to = binary.AppendUvarint(to, bits)
	if e.Encoded {
		to = binary.AppendUvarint(to, uint64(len(e.Lengths)))
		for _, n := range e.Lengths {
			to = binary.AppendUvarint(to, uint64(n))
		}
	}
	if e.Reason != "" {
		to = binary.AppendUvarint(to, uint64(len(e.Reason)))
		to = append(to, e.Reason...)
	}
	if e.Images != nil {
		to = binary.AppendUvarint(to, uint64(len(e.Images)))
		for _, size := range e.Images {
			to = binary.AppendUvarint(to, uint64(size.Width))
			to = binary.AppendUvarint(to, uint64(size.Height))
		}
	}
	return to
}

// uvarints reads numbers from a payload; bad is set at the first that is not there or is larger
// than it can be.
type uvarints struct {
	rest []byte
	bad  bool
}

func (u *uvarints) next(limit int) int {
	n, size := binary.Uvarint(u.rest)
	if size <= 0 || n > uint64(limit) {
		u.bad = true
		return 0
	}
	u.rest = u.rest[size:]
	return int(n)
}

// decode adds the entries of a block and reports whether all were valid.
func (s *shardIndex) decode(payload []byte) bool {
	u := uvarints{rest: payload}
	for len(u.rest) > 0 {
		var e IndexEntry
		e.Row = u.next(len(s.lengths) - 1)
		bits := u.next(hasText | hasReason | hasImages)
		if e.Encoded = bits&hasText != 0; e.Encoded {
			for range u.next(len(u.rest)) {
				e.Lengths = append(e.Lengths, u.next(manySamples-2))
			}
		}
		if bits&hasReason != 0 {
			n := u.next(len(u.rest))
			if n > len(u.rest) {
				return false
			}
			e.Reason, u.rest = string(u.rest[:n]), u.rest[n:]
		}
		if bits&hasImages != 0 {
			e.Images = make([]Size, u.next(len(u.rest)))
			for i := range e.Images {
				e.Images[i] = Size{u.next(1 << 30), u.next(1 << 30)}
			}
		}
		if u.bad {
			return false
		}
		s.set(e)
	}
	return true
}

// set stores an entry in memory.
func (s *shardIndex) set(e IndexEntry) {
	row := e.Row
	if e.Encoded {
		if s.lengths[row] == 0 {
			s.known++
		}
		if len(e.Lengths) == 1 {
			s.lengths[row] = 1 + uint32(e.Lengths[0])
		} else {
			s.lengths[row] = manySamples + uint32(len(s.many))
			s.many = append(s.many, e.Lengths)
		}
	}
	if e.Reason != "" {
		s.reasons[row] = e.Reason
	}
	if e.Images == nil {
		return
	}
	if len(e.Images) == 1 && e.Images[0].Width < 1<<16 && e.Images[0].Height < 1<<16 {
		s.size[row] = uint32(e.Images[0].Width)<<16 | uint32(e.Images[0].Height)
	} else {
		s.images[row] = e.Images
	}
}

// at returns the index of a row's file and its number in the file.
func (x *Index) at(row int) (*shardIndex, int) {
	g := &x.d.groups[x.d.groupOf(row)]
	return x.shards[g.number], row - g.first + g.firstInFile
}

// Entry returns what is known of a row.
func (x *Index) Entry(row int) IndexEntry {
	s, i := x.at(row)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := IndexEntry{Row: row, Reason: s.reasons[i], Images: s.images[i]}
	switch n := s.lengths[i]; {
	case n >= manySamples:
		e.Encoded, e.Lengths = true, s.many[n-manySamples]
	case n > 0:
		e.Encoded, e.Lengths = true, []int{int(n - 1)}
	}
	if n := s.size[i]; n > 0 {
		e.Images = []Size{{int(n >> 16), int(n & 0xffff)}}
	}
	return e
}

// Known returns the number of rows whose lengths are known.
func (x *Index) Known() (n int) {
	for _, s := range x.shards {
		s.mu.Lock()
		n += s.known
		s.mu.Unlock()
	}
	return n
}

// Add adds entries that are not known yet, and appends them to the files. It returns the first
// error of a write to a file; nothing more is written to that file, but the entries are known
// to this process.
func (x *Index) Add(entries []IndexEntry) error {
	blocks := map[*shardIndex][]byte{}
	for _, e := range entries {
		s, i := x.at(e.Row)
		s.mu.Lock()
		if known := s.lengths[i] > 0; known && e.Encoded {
			e.Encoded = false
		}
		if s.size[i] > 0 || s.images[i] != nil || len(e.Images) == 0 {
			e.Images = nil
		}
		if e.Encoded || e.Images != nil || e.Reason != s.reasons[i] && e.Reason != "" {
			blocks[s] = appendEntry(blocks[s], i, e)
			e.Row = i
			s.set(e)
		}
		s.mu.Unlock()
	}
	var failed error
	for s, payload := range blocks {
		s.mu.Lock()
		if s.failed == nil {
			s.failed = s.append(payload)
			failed = errors.Join(failed, s.failed)
		}
		s.mu.Unlock()
	}
	return failed
}

// append writes a block to the file, which it creates if there is none.
func (s *shardIndex) append(payload []byte) (err error) {
	file, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil { // there is none yet, or it may only be read
		if err := s.create(); err != nil {
			return err
		}
		if file, err = os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return err
		}
	}
	if _, err = file.Write(appendBlock(nil, payload)); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// create creates the file at the first path that can be written.
func (s *shardIndex) create() (err error) {
	for _, path := range s.paths {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			continue
		}
		if err = durable.Replace(path, appendBlock(nil, s.header)); err == nil {
			s.path = path
			return nil
		}
	}
	return err
}
