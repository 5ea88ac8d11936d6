package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
)

// Resolve returns the parquet files that paths name, sorted and without duplicates. A
// path is a file, a glob, or a folder, which stands for the *.parquet directly in it. A
// path with commas is a list of paths, unless it exists as a whole. A folder that mixes
// splits (train-*, test-*, …) is an error. Errors are *DataErrors.
func Resolve(paths []string) ([]File, error) {
	var files []string
	for _, path := range paths {
		for _, pattern := range splitList(path) {
			found, err := resolve(pattern)
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		}
	}
	slices.Sort(files)
	return Local(slices.Compact(files)...), nil
}

// splitList splits a list of paths at its commas; a path that exists stays whole.
func splitList(path string) []string {
	_, err := os.Stat(path)
	found, _ := filepath.Glob(path) // resolve reports a malformed glob
	if err == nil || len(found) > 0 {
		return []string{path}
	}
	return strings.Split(path, ",")
}

func resolve(pattern string) ([]string, error) {
	info, err := os.Stat(pattern)
	switch {
	case err == nil && info.IsDir():
		return folder(pattern)
	case err == nil:
		return []string{filepath.Clean(pattern)}, nil
	}
	found, malformed := filepath.Glob(pattern)
	if malformed != nil {
		return nil, &DataError{File: pattern, Row: -1, Reason: "not a valid glob"}
	}
	found = slices.DeleteFunc(found, isFolder)
	switch {
	case len(found) > 0:
	case os.IsNotExist(err) || strings.ContainsAny(pattern, "*?["): // which Windows calls invalid names
		return nil, &DataError{File: pattern, Row: -1, Reason: "no such file"}
	default:
		return nil, &DataError{File: pattern, Row: -1, Reason: cause(err)}
	}
	return found, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// folder returns the parquet files directly in a folder.
func folder(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, &DataError{File: path, Row: -1, Reason: cause(err)}
	}
	var files, names []string
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || strings.HasPrefix(name, ".") || filepath.Ext(name) != ".parquet" {
			continue
		}
		files, names = append(files, filepath.Join(path, name)), append(names, name)
	}
	if len(files) == 0 {
		return nil, &DataError{File: path, Row: -1, Reason: "no *.parquet in this folder"}
	}
	if splits := Splits(names); len(splits) > 1 {
		return nil, &DataError{File: path, Row: -1, Reason: fmt.Sprintf("contains the splits %s; name one of them, for example %s",
			strings.Join(splits, " and "), filepath.Join(path, splits[len(splits)-1]+"-*.parquet"))}
	}
	return files, nil
}

// Splits returns the splits (train, test, …) to which files with names such as
// train-00000-of-00002.parquet belong, in the order of the names.
func Splits(names []string) (splits []string) {
	for _, name := range names {
		if s := split(name); s != "" && !slices.Contains(splits, s) {
			splits = append(splits, s)
		}
	}
	return splits
}

// split returns the split in a file name such as train-00000-of-00002.parquet, or "".
func split(name string) string {
	word, _, ok := strings.Cut(name, "-")
	if ok && slices.Contains([]string{"train", "test", "validation", "val"}, word) {
		return word
	}
	return ""
}

// cause returns the reason in a file error, without the path.
func cause(err error) string {
	switch e := err.(type) {
	case *os.PathError:
		return e.Err.Error()
	case *smallfile.Error:
		return e.Reason
	}
	return err.Error()
}
