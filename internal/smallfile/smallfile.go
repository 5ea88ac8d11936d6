// Package smallfile reads files from untrusted paths, such as configurations, tokenizers and
// images, with a size limit. It only reads regular files: pipes and devices are rejected
// without opening them.
package smallfile

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// Error reports a file that is not regular or too large.
type Error struct {
	Name   string
	Reason string // what is wrong, and what to do
}

func (e *Error) Error() string { return e.Name + ": " + e.Reason }

// Size limits, in bytes.
const (
	Config = 16 << 20  // hand-written files and lists of special tokens; the largest published ones have 2 MB
	Image  = 512 << 20 // 64 million pixels, the limit of decoding, of 8 bytes
	Sound  = 512 << 20 // ten minutes, the limit of decoding, at rates and channels of studios
	Log    = 2 << 30   // metrics of a run
)

// Read returns the contents of a regular file; links are followed. The error is an *Error if the
// file has more than limit bytes or is not regular, otherwise that of the system.
func Read(name string, limit int64) ([]byte, error) { return read(system{}, name, limit) }

// ReadIn is Read for a file in a folder; neither the name nor a link may lead out of it.
func ReadIn(root *os.Root, name string, limit int64) ([]byte, error) { return read(root, name, limit) }

// Open opens a regular file of at most limit bytes.
func Open(name string, limit int64) (*os.File, error) { return open(system{}, name, limit) }

// OpenIn is Open for a file in a folder; neither the name nor a link may lead out of it.
func OpenIn(root *os.Root, name string, limit int64) (*os.File, error) {
	return open(root, name, limit)
}

// folder is where files are opened: an *os.Root or the file system.
type folder interface {
	Stat(name string) (fs.FileInfo, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
}

type system struct{}

func (system) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (system) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

func read(in folder, name string, limit int64) ([]byte, error) {
	file, err := open(in, name, limit)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ReadFrom(file, name, limit) // checks the limit again: a file may grow, and files of /proc have size 0
}

// ReadFrom reads a stream, such as standard input, of at most limit bytes; name is used in errors.
func ReadFrom(r io.Reader, name string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, min(limit, math.MaxInt64-1)+1))
	if err == nil && int64(len(text)) > limit {
		return nil, tooLong(name, limit)
	}
	return text, err
}

func open(in folder, name string, limit int64) (*os.File, error) {
	// Checked before opening, since opening a device can have effects, and after, since the
	// name may refer to another file by then.
	info, err := in.Stat(name)
	if err == nil {
		err = check(name, info, limit)
	}
	if err != nil {
		return nil, err
	}
	file, err := in.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err = file.Stat()
	if err == nil {
		err = check(name, info, limit)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func check(name string, info fs.FileInfo, limit int64) error {
	what := ""
	switch mode := info.Mode(); {
	case mode.IsDir():
		what = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	case !mode.IsRegular():
		what = "not a regular file"
	case info.Size() > limit:
		return tooLong(name, limit)
	default:
		return nil
	}
	return &Error{name, "is " + what + "; name a file"}
}

func tooLong(name string, limit int64) error {
	return &Error{name, fmt.Sprintf("has more than %s, the size limit for such files; check that it is the right one", size(limit))}
}

// size formats a limit in the largest unit that divides it.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return fmt.Sprintf("%d %s", n/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
