package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"patchwork/engine"
	"patchwork/nn/gguf"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/train"
)

// advice says how to go on after an error that does not say it itself, behind a
// semicolon; "" where there is nothing to say.
func (a *app) advice(err error) string {
	var stopped *train.StoppedError
	var noGGUF *gguf.FormatError
	var noData *data.DataError
	var notFinite *generate.NotFiniteError
	switch {
	case errors.As(err, &stopped) && stopped.Checkpoint != "":
		return "; go on with: " + a.resumeCommand()
	case errors.As(err, &stopped):
		return "; start anew with: " + a.resumeCommand()
	case errors.Is(err, syscall.ENOSPC):
		return "; make room there and try again"
	case errors.Is(err, engine.ErrDeviceLost):
		return "; try again, or take another --device (vlmtool devices lists them)"
	case errors.As(err, &notFinite):
		if f := a.flags.Lookup("dtype"); f != nil && f.Value.String() == "f16" {
			return "; --dtype f32 holds larger values"
		}
		return "; take an earlier checkpoint or another model"
	case errors.Is(err, engine.ErrNoDevice) && a.device != "" && a.device != "cpu":
		return "; vlmtool devices lists those there are"
	case errors.As(err, &noGGUF) && a.flags.Lookup("model") != nil:
		return "; name a model's folder or a GGUF file"
	case errors.As(err, &noData) && noData.Reason == "permission denied":
		return "; change it, or take another file"
	case errors.As(err, &noData) && noData.Row < 0 && slices.Contains(noDataAtAll, noData.Reason):
		return "; vlmtool data import makes parquet files of pictures and captions"
	case errors.Is(err, engine.ErrUnsupported) && a.device != "" && a.device != "cpu":
		return "; --device cpu has no such limits"
	}
	return ""
}

// hubName is OWNER/NAME, with a revision or not.
var hubName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)/([A-Za-z0-9][A-Za-z0-9._-]*)(@[A-Za-z0-9._/-]+)?$`)

// missingModel puts the way to a model in the place of an error about a folder that is not
// there, and has the name of one on the hub.
func (a *app) missingModel(err error) error {
	var names []string
	for _, flag := range []string{"model", "decoder"} {
		if f := a.flags.Lookup(flag); f != nil {
			names = append(names, f.Value.String())
		}
	}
	if a.name == "inspect" {
		names = append(names, a.flags.Args()...)
	}
	for _, name := range names {
		m := hubName.FindStringSubmatch(name)
		if m == nil || slices.Contains([]string{".parquet", ".gguf", ".json", ".safetensors"}, strings.ToLower(path.Ext(name))) || !strings.Contains(err.Error(), name) {
			continue
		}
		if _, there := os.Stat(name); !errors.Is(there, fs.ErrNotExist) {
			continue
		}
		hint := fmt.Errorf("there is no folder %s; vlmtool fetch %[1]s --out %s brings it from the hub, where it is there", name, m[2])
		if errors.As(err, &usageError{}) {
			return usageError{hint}
		}
		return hint
	}
	return err
}

// noDataAtAll are the reasons of those who have no parquet files yet, or name others.
var noDataAtAll = []string{"not a parquet file", "no *.parquet in this folder"}

// resumeCommand is the command that was given, with --resume, for a shell.
func (a *app) resumeCommand() string {
	words := []string{"vlmtool", a.name}
	for _, arg := range a.args {
		words = append(words, shellWord(arg))
	}
	if resume, _ := a.flags.GetBool("resume"); !resume {
		words = append(words, "--resume")
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word in which a shell would see more than its letters.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,=+%@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
