package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"patchwork/internal/durable"
	"patchwork/internal/smallfile"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/tokenizer"
)

// SumsFile lists the SHA-256 checksums of a checkpoint's files in the format of coreutils'
// sha256sum.
const SumsFile = "SHA256SUMS"

// DamageError reports a missing, unreadable or modified file of a checkpoint.
type DamageError struct {
	File, Reason string
	Err          error // of reading the file; nil if its content is wrong
}

func (e *DamageError) Error() string { return e.File + ": " + e.Reason }
func (e *DamageError) Unwrap() error { return e.Err }

// readError makes the DamageError of a failure to read a file.
func readError(dir, file string, err error) error {
	file, reason := filepath.Join(dir, file), err.Error()
	var path *fs.PathError
	if errors.As(err, &path) {
		file, reason = path.Path, path.Err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		reason = "the file is missing"
	}
	return &DamageError{file, strings.TrimPrefix(reason, file+": "), err}
}

// contentError makes the DamageError of a file with wrong content.
func contentError(dir, file, format string, args ...any) error {
	return &DamageError{File: filepath.Join(dir, file), Reason: fmt.Sprintf(format, args...)}
}

// writeSums syncs all files of a folder to disk, then writes and syncs SHA256SUMS.
func writeSums(dir string) error {
	if err := durable.SyncFiles(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sums, err := hashFiles(context.Background(), dir, names)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for i, name := range names {
		fmt.Fprintf(&list, "%s  %s\n", sums[i], name)
	}
	if err := durable.WriteFile(filepath.Join(dir, SumsFile), list.Bytes()); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// hashFiles returns the SHA-256 checksums of files, in order.
func hashFiles(ctx context.Context, dir string, files []string) ([]string, error) {
	sums := make([]string, len(files))
	var group errgroup.Group
	group.SetLimit(3) // a checkpoint's large files
	for i, name := range files {
		group.Go(func() (err error) {
			sums[i], err = hashFile(ctx, filepath.Join(dir, name))
			return err
		})
	}
	return sums, group.Wait()
}

func hashFile(ctx context.Context, path string) (string, error) {
	limit := int64(math.MaxInt64)
	if filepath.Ext(path) != filepath.Ext(pretrained.WeightsFile) {
		limit = tokenizer.MaxFile // the largest of the small files
	}
	f, err := smallfile.Open(path, limit)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, ctxReader{ctx, f}, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ctxReader is a reader that fails when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// requiredFiles must be listed in SHA256SUMS.
var requiredFiles = []string{"config.json", pretrained.WeightsFile, FirstMomentsFile, SecondMomentsFile, StateFile, "tokenizer.json", "tokenizer_config.json"}

// CheckSums verifies every file listed in a checkpoint's SHA256SUMS and returns their number. It
// returns a *DamageError for the first that does not match.
func CheckSums(ctx context.Context, dir string) (files int, err error) {
	text, err := smallfile.Read(filepath.Join(dir, SumsFile), smallfile.Config)
	if err != nil {
		return 0, readError(dir, SumsFile, err)
	}
	want, order := map[string]string{}, []string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || len(sum) != 2*sha256.Size || name == "" || name != filepath.Base(name) || !strings.HasSuffix(line, "\n") {
			return 0, contentError(dir, SumsFile, "line %d is not a checksum and a file name", len(order)+1)
		}
		want[name], order = sum, append(order, name)
	}
	for _, name := range requiredFiles {
		if want[name] == "" {
			return 0, contentError(dir, SumsFile, "does not list %s", name)
		}
	}
	for _, name := range order {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return 0, readError(dir, name, err)
		}
	}
	got, err := hashFiles(ctx, dir, order)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, readError(dir, "", err)
	}
	for i, name := range order {
		if got[i] != want[name] {
			return 0, contentError(dir, name, "content does not match %s", SumsFile)
		}
	}
	return len(order), nil
}
