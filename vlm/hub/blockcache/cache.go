// Package blockcache keeps blocks of remote files on disk: each with a checksum, all together
// within a limit in bytes. Processes may share a folder.
package blockcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"patchwork/internal/disk"
	"patchwork/internal/smallfile"
)

// Key identifies a block. A file whose content may change needs another name for each content.
type Key struct {
	File  string
	Block int64
}

// Options are the settings of a cache.
type Options struct {
	Dir     string
	Limit   int64        // bytes of all blocks together
	Reserve int64        // bytes of the disk that are left free for others
	Warn    func(string) // called once if the disk is full or cannot be written; may be nil
}

// A Cache is a folder of blocks. The least recently used ones are removed when a new one does
// not fit. It is safe for concurrent use, also by several processes. No method fails: a block
// that cannot be written is not kept, and one that is damaged is not found.
type Cache struct {
	o Options

	mu      sync.Mutex
	scanned bool
	used    int64     // bytes, as of the last scan and by this process since
	written int64     // bytes by this process since the last scan
	being   int64     // bytes that are being written now
	paused  time.Time // no block is written before
	full    bool      // the last block did not fit
	warned  bool
	damaged int64
}

// Names in the folder: blocks are in blocks/XX/, by the first byte of their hash, and are
// written under a temporary name beside them. Listings and the like are in kept/.
const (
	blocksDir  = "blocks"
	keptDir    = "kept"
	tempPrefix = "tmp-"
)

// New returns the cache in a folder, which is made when something is written.
func New(o Options) *Cache { return &Cache{o: o} }

// A block's file is a header, then its bytes. The checksum is that of the name of the key and
// the bytes, so that a file under another block's name is found as well.
const (
	magic      = "PWBLOCK1"
	headerSize = len(magic) + 4 // CRC-32C, little endian
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (k Key) String() string { return fmt.Sprintf("%s\x00%d", k.File, k.Block) }

func (c *Cache) path(k Key) string {
	sum := sha256.Sum256([]byte(k.String()))
	name := hex.EncodeToString(sum[:20])
	return filepath.Join(c.o.Dir, blocksDir, name[:2], name[2:])
}

func header(name string, data []byte) []byte {
	sum := crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, data)
	return binary.LittleEndian.AppendUint32([]byte(magic), sum)
}

// check reports whether a header is that of data.
func check(name string, head, data []byte) bool { return bytes.Equal(head, header(name, data)) }

// Has reports whether there is a block. It may be damaged.
func (c *Cache) Has(k Key) bool {
	if c.o.Dir == "" {
		return false
	}
	_, err := os.Stat(c.path(k))
	return err == nil
}

// Get reads a block of the length of data; ok is false if there is none. A damaged block is
// removed.
func (c *Cache) Get(k Key, data []byte) (ok bool) {
	if c.o.Dir == "" {
		return false
	}
	path := c.path(k)
	file, err := smallfile.Open(path, math.MaxInt64)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, headerSize)
	if _, err = io.ReadFull(file, head); err == nil {
		_, err = io.ReadFull(file, data)
	}
	info, statErr := file.Stat()
	if err != nil || statErr != nil || info.Size() != int64(headerSize+len(data)) || !check(k.String(), head, data) {
		c.mu.Lock()
		c.damaged++
		c.mu.Unlock()
		os.Remove(path)
		return false
	}
	touch(path, info.ModTime())
	return true
}

// touch marks a file as used. The times are those of the last use, to a minute.
func touch(path string, last time.Time) {
	if now := time.Now(); now.Sub(last) > time.Minute {
		os.Chtimes(path, now, now) // an error only makes it look older
	}
}

// Damaged returns the number of blocks that Get found damaged.
func (c *Cache) Damaged() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.damaged
}

// pause is the time without writes after one that failed.
const pause = time.Minute

// Usable reports whether blocks are kept at present, as far as is known.
func (c *Cache) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writable() && !c.full
}

// writable reports whether a block may be written. c.mu is held.
func (c *Cache) writable() bool {
	return c.o.Dir != "" && c.o.Limit > 0 && time.Now().After(c.paused)
}

// Put writes a block, and removes old ones to make space for it. It reports whether the block
// is kept.
func (c *Cache) Put(k Key, data []byte) bool {
	size := int64(headerSize + len(data))
	if !c.makeSpace(size) {
		return false
	}
	err := write(c.path(k), header(k.String(), data), data)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.being -= size
	if err != nil {
		c.used -= size
		c.fail(err)
	}
	return err == nil
}

// wayOut ends the warnings.
const wayOut = "free some space there, or give another folder"

// fail records that the folder cannot be written. c.mu is held.
func (c *Cache) fail(err error) {
	c.paused = time.Now().Add(pause)
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	c.warn(fmt.Sprintf("the cache in %s cannot be written (%v); reading goes on without it; %s", c.o.Dir, err, wayOut))
}

// warn passes on the first warning. c.mu is held.
func (c *Cache) warn(text string) {
	if !c.warned && c.o.Warn != nil {
		c.o.Warn(text)
	}
	c.warned = true
}

// write writes a file under a temporary name and renames it. It is not synced: a file that a
// crash damaged fails its checksum.
func write(path string, head, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil { // only the user may have access to a private data set
		return err
	}
	file, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return err
	}
	_, err = file.Write(head)
	if err == nil {
		_, err = file.Write(data)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// freeSpace is replaced in tests.
var freeSpace = disk.Free

// Keep writes something small that is not counted and stays. It reports whether it could.
func (c *Cache) Keep(name string, data []byte) bool {
	if c.o.Dir == "" {
		return false
	}
	err := write(c.keptPath(name), header(name, data), data)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fail(err)
	}
	return err == nil
}

// maxKept limits what Kept reads.
const maxKept = 256 << 20

// Kept reads what Keep wrote; ok is false if there is nothing, or if it is damaged.
func (c *Cache) Kept(name string) (data []byte, ok bool) {
	if c.o.Dir == "" {
		return nil, false
	}
	text, err := smallfile.Read(c.keptPath(name), maxKept)
	if err != nil || len(text) < headerSize || !check(name, text[:headerSize], text[headerSize:]) {
		return nil, false
	}
	return text[headerSize:], true
}

func (c *Cache) keptPath(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(c.o.Dir, keptDir, hex.EncodeToString(sum[:20]))
}
