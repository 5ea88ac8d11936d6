package blockcache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"patchwork/internal/require"
)

func block(n byte) []byte { return bytes.Repeat([]byte{n}, 1000) }

// size is the size of a block's file.
const size = int64(headerSize) + 1000

func key(i int64) Key { return Key{"file", i} }

// used is the size of all blocks, and the names of other files.
func used(t testing.TB, dir string) (bytes int64, others []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, blocksDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil { // removed meanwhile
			return nil
		}
		if strings.HasPrefix(d.Name(), tempPrefix) {
			others = append(others, path)
			return nil
		}
		bytes += info.Size()
		return nil
	}))
	return bytes, others
}

func TestPutGet(t *testing.T) {
	dir := t.TempDir()
	c := New(Options{Dir: dir, Limit: 1 << 20})
	data := make([]byte, 1000)
	if c.Has(key(0)) || c.Get(key(0), data) {
		t.Error("a block in an empty cache")
	}
	if !c.Put(key(0), block(7)) || !c.Has(key(0)) || !c.Get(key(0), data) || !bytes.Equal(data, block(7)) {
		t.Error("a block is lost")
	}
	if again := New(Options{Dir: dir, Limit: 1 << 20}); !again.Get(key(0), data) {
		t.Error("a block is lost in another process")
	}
	if !c.Keep("a listing", []byte("text")) {
		t.Error("not kept")
	}
	if text, ok := c.Kept("a listing"); !ok || string(text) != "text" {
		t.Errorf("kept %q, %v", text, ok)
	}
	if text, ok := c.Kept("another"); ok {
		t.Errorf("kept %q", text)
	}
	if none := New(Options{Dir: dir}); none.Put(key(1), block(1)) || none.Has(key(1)) {
		t.Error("a cache of 0 bytes keeps a block")
	}
}

// TestDamaged: a block with any changed, missing or additional byte is not found, nor is one
// under another's name; it is removed.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(text []byte) []byte{
		"magic":      func(b []byte) []byte { b[0] ^= 1; return b },
		"checksum":   func(b []byte) []byte { b[headerSize-1] ^= 1; return b },
		"first byte": func(b []byte) []byte { b[headerSize] ^= 1; return b },
		"last byte":  func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b },
		"truncated":  func(b []byte) []byte { return b[:len(b)-1] },
		"header":     func(b []byte) []byte { return b[:headerSize-3] },
		"empty":      func([]byte) []byte { return nil },
		"longer":     func(b []byte) []byte { return append(b, 0) },
		"another's":  func([]byte) []byte { return append(header(key(2).String(), block(2)), block(2)...) },
	} {
		t.Run(name, func(t *testing.T) {
			c := New(Options{Dir: t.TempDir(), Limit: 1 << 20})
			if !c.Put(key(1), block(1)) {
				t.Fatal("not written")
			}
			path := c.path(key(1))
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, damage(text), 0o600))
			if c.Get(key(1), make([]byte, 1000)) || c.Has(key(1)) || c.Damaged() != 1 {
				t.Errorf("it is found; %d damaged", c.Damaged())
			}
			require.NoError(t, os.MkdirAll(filepath.Join(c.o.Dir, keptDir), 0o700))
			require.NoError(t, os.WriteFile(c.keptPath("a"), damage(append(header("a", block(1)), block(1)...)), 0o600))
			if _, ok := c.Kept("a"); ok {
				t.Error("what was kept is found")
			}
		})
	}
}

// TestLimit: the least recently used blocks are removed, and the limit is kept at all times.
func TestLimit(t *testing.T) {
	dir := t.TempDir()
	const limit = 11 * 1012
	c := New(Options{Dir: dir, Limit: limit})
	for i := range int64(10) {
		if !c.Put(key(i), block(byte(i))) {
			t.Fatalf("block %d is not kept", i)
		}
		old := time.Now().Add(-time.Hour + time.Duration(i)*time.Minute)
		require.NoError(t, os.Chtimes(c.path(key(i)), old, old))
	}
	if !c.Get(key(0), make([]byte, 1000)) { // used now
		t.Fatal("block 0 is lost")
	}
	stale := filepath.Join(filepath.Dir(c.path(key(0))), tempPrefix+"left")
	require.NoError(t, os.WriteFile(stale, block(0), 0o600))
	require.NoError(t, os.Chtimes(stale, time.Now().Add(-2*staleTemp), time.Now().Add(-2*staleTemp)))
	if !c.Put(key(10), block(10)) {
		t.Fatal("block 10 is not kept")
	}
	n, others := used(t, dir)
	if n > limit || !c.Has(key(0)) || !c.Has(key(9)) || !c.Has(key(10)) || c.Has(key(1)) || len(others) != 0 {
		t.Errorf("%d bytes, %q", n, others)
	}
	if c.Put(key(11), make([]byte, limit)) {
		t.Error("a block larger than the limit is kept")
	}
}

// TestConcurrent: readers and writers in several goroutines, of one cache and another of the
// same folder, keep the limit and see only whole blocks.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	const limit = 100 * 1012
	caches := []*Cache{New(Options{Dir: dir, Limit: limit}), New(Options{Dir: dir, Limit: limit})}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			c, data := caches[w%2], make([]byte, 1000)
			for i := range int64(100) {
				k := (i*7 + int64(w)) % 400
				if c.Get(key(k), data) && !bytes.Equal(data, block(byte(k))) {
					t.Errorf("block %d has other bytes", k)
				}
				c.Put(key(k), block(byte(k)))
			}
		})
	}
	wg.Wait()
	if n, others := used(t, dir); n > limit || n == 0 || len(others) != 0 {
		t.Errorf("%d bytes, %q", n, others)
	}
	if caches[0].Damaged()+caches[1].Damaged() != 0 {
		t.Error("damaged blocks")
	}
}

// TestProcesses runs this test in two processes that share a folder.
func TestProcesses(t *testing.T) {
	const variable, limit = "PATCHWORK_TEST_BLOCKCACHE", 64 * size
	if dir := os.Getenv(variable); dir != "" {
		c, data := New(Options{Dir: dir, Limit: limit}), make([]byte, 1000)
		for i := range int64(300) {
			k := i * 13 % 150
			if c.Get(key(k), data) && !bytes.Equal(data, block(byte(k))) {
				t.Fatalf("block %d has other bytes", k)
			}
			if c.Put(key(k), block(byte(k))); i%50 == 0 {
				if n, _ := used(t, dir); n > limit {
					t.Fatalf("%d bytes, the limit is %d", n, limit)
				}
			}
		}
		if c.Damaged() != 0 {
			t.Fatal("damaged blocks")
		}
		return
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			command := exec.Command(os.Args[0], "-test.run=^TestProcesses$")
			command.Env = append(os.Environ(), variable+"="+dir)
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
}

// TestReserve: the cache shrinks rather than fill the disk, warns once, and writes again when
// there is space.
func TestReserve(t *testing.T) {
	free := int64(1 << 30)
	defer func(f func(string) (int64, bool)) { freeSpace = f }(freeSpace)
	freeSpace = func(string) (int64, bool) { return free, true }
	var warnings []string
	dir := t.TempDir()
	c := New(Options{Dir: dir, Limit: 1 << 30, Reserve: 1 << 20, Warn: func(s string) { warnings = append(warnings, s) }})
	for i := range int64(20) {
		c.Put(key(i), block(1))
	}
	free = 1<<20 - 10*size // others have filled the disk
	if !c.Put(key(20), block(1)) {
		t.Error("no space is made")
	}
	if n, _ := used(t, dir); n > 10*size || n < 5*size {
		t.Errorf("%d blocks", n/size)
	}
	free = 1000
	for i := range int64(5) {
		if c.Put(key(30+i), block(1)) {
			t.Error("the reserve is used")
		}
	}
	if c.Usable() {
		t.Error("usable without space")
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "less than 1 MiB are free") || !strings.Contains(warnings[0], dir) {
		t.Errorf("warnings %q", warnings)
	}
	free = 1 << 30
	if !c.Put(key(40), block(1)) {
		t.Error("not written when there is space again")
	}
	if !c.Usable() {
		t.Error("not usable with space")
	}
}

// TestUnwritable: a folder that cannot be made is one warning.
func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var warnings []string
	c := New(Options{Dir: filepath.Join(file, "cache"), Limit: 1 << 20, Warn: func(s string) { warnings = append(warnings, s) }})
	for i := range int64(3) {
		if c.Put(key(i), block(1)) || c.Get(key(i), make([]byte, 1000)) || c.Keep(fmt.Sprint(i), nil) {
			t.Error("a block is written")
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "cannot be written (not a directory)") || c.Usable() {
		t.Errorf("warnings %q", warnings)
	}
}

func BenchmarkGet(b *testing.B) {
	c := New(Options{Dir: b.TempDir(), Limit: 1 << 30})
	data := make([]byte, 4<<20)
	c.Put(key(0), data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if !c.Get(key(0), data) {
			b.Fatal("not found")
		}
	}
}
