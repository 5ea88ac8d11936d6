// Package smallfile reads files that must not surprise: configurations, tokenizers,
// captions, lists, pictures named by a user. Only regular files are read, up to a
// limit; a pipe, a device or an endless file is refused at once.
package smallfile

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// An Error is a file that is not read because of what it is.
type Error struct {
	Name   string
	Reason string // what is wrong, and what to do
}

func (e *Error) Error() string { return e.Name + ": " + e.Reason }

// Limits of usual kinds of files, in bytes.
const (
	Config  = 16 << 20  // written by hand or listing a vocabulary's special tokens; the largest published ones have 2 MB
	Picture = 512 << 20 // the most pixels that are taken, 64 million, in 8 bytes each
	Log     = 2 << 30   // lines that a run has added in the course of its steps
)

// Read returns what a regular file holds, links followed. Where that is more than limit
// bytes, or the file is not a regular one, the error is an *Error, else the system's.
func Read(name string, limit int64) ([]byte, error) { return read(system{}, name, limit) }

// ReadIn is Read of a file in a folder, out of which neither the name nor a link leads.
func ReadIn(root *os.Root, name string, limit int64) ([]byte, error) { return read(root, name, limit) }

// Open opens a regular file of at most limit bytes, to be read piece by piece.
func Open(name string, limit int64) (*os.File, error) { return open(system{}, name, limit) }

// OpenIn is Open of a file in a folder, out of which neither the name nor a link leads.
func OpenIn(root *os.Root, name string, limit int64) (*os.File, error) {
	return open(root, name, limit)
}

// folder is where files are opened: an *os.Root, or anywhere.
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
	return ReadFrom(file, name, limit) // the limit counts again: a file may grow, and those of /proc tell no size
}

// ReadFrom returns all of a stream, such as standard input, of at most limit bytes; name
// stands in the error.
func ReadFrom(r io.Reader, name string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, min(limit, math.MaxInt64-1)+1))
	if err == nil && int64(len(text)) > limit {
		return nil, tooLong(name, limit)
	}
	return text, err
}

func open(in folder, name string, limit int64) (*os.File, error) {
	// Before it is opened, since that alone can make a device do something; and after,
	// since the name may mean another file by then.
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
		what = "no regular file"
	case info.Size() > limit:
		return tooLong(name, limit)
	default:
		return nil
	}
	return &Error{name, "is " + what + "; name a file"}
}

func tooLong(name string, limit int64) error {
	return &Error{name, fmt.Sprintf("has more than %s, the most that is read of such a file; check that it is the right one", size(limit))}
}

// size is a limit in the largest unit that it is a whole number of.
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
