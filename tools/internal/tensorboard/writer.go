// Package tensorboard writes a training run's metrics as TensorBoard event files.
package tensorboard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"
)

// Writer appends to a new event file. It is not safe for concurrent use.
type Writer struct {
	path    string
	file    *os.File
	to      *bufio.Writer
	flushed time.Time
	made    []string // folders created for it, innermost first
	begun   bool
}

// flushEvery is the maximum time until events are written to the file.
const flushEvery = time.Second

// Create creates a new event file in a folder, and the folder if needed. TensorBoard reads
// a folder's files in the order of their names, which begin with the time, so that the new
// one is the last.
func Create(dir string) (*Writer, error) {
	w := &Writer{}
	for missing := filepath.Clean(dir); ; missing = filepath.Dir(missing) {
		if _, err := os.Stat(missing); err == nil || !errors.Is(err, os.ErrNotExist) {
			break
		}
		w.made = append(w.made, missing)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	earlier, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	second := time.Now().Unix()
	for _, file := range earlier {
		var then int64
		if _, err := fmt.Sscanf(file.Name(), "events.out.tfevents.%d", &then); err == nil {
			second = max(second, then+1)
		}
	}
	w.path = filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.%s.%d.0", second, host, os.Getpid()))
	if w.file, err = os.OpenFile(w.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
		return nil, err
	}
	w.to = bufio.NewWriterSize(w.file, 1<<16)
	return w, w.write(fileVersion(time.Now()))
}

// begin marks the start of the session at the given step.
func (w *Writer) begin(step int) error {
	w.begun = true
	if err := w.write(sessionStart(time.Now(), step)); err != nil {
		return err
	}
	return w.flush()
}

// record writes a step's values.
func (w *Writer) record(step int, values ...value) error {
	now := time.Now()
	if err := w.write(summary(now, step, values...)); err != nil {
		return err
	}
	if now.Sub(w.flushed) < flushEvery {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	w.flushed = time.Now()
	return w.to.Flush()
}

// Close flushes and closes the file; it removes the file if no run has begun.
func (w *Writer) Close() error {
	err := errors.Join(w.flush(), w.file.Close())
	if w.begun {
		return err
	}
	err = errors.Join(err, os.Remove(w.path))
	for _, dir := range w.made {
		if os.Remove(dir) != nil {
			break // not empty
		}
	}
	return err
}

// write appends a TFRecord: the length, its checksum, the event, its checksum.
func (w *Writer) write(event []byte) error {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(event)))
	for _, part := range [][]byte{length[:], event} {
		if _, err := w.to.Write(part); err != nil {
			return err
		}
		if err := binary.Write(w.to, binary.LittleEndian, masked(part)); err != nil {
			return err
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the CRC in TFRecord's form (tensorflow/core/lib/hash/crc32c.h).
func masked(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}
