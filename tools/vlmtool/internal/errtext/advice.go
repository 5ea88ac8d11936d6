package errtext

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

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/nn/gguf"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/train"
)

// Invocation is the command line that failed.
type Invocation struct {
	Command string   // "train", "bench kernels"
	Args    []string // all of them, the command's name included
	Flags   *pflag.FlagSet
	Device  string // --device; "" where the command has none
}

// Advice is what to do about an error whose text does not contain it, after a
// semicolon; "" where there is none.
func (i Invocation) Advice(err error) string {
	var stopped *train.StoppedError
	var badGGUF *gguf.FormatError
	var badData *data.DataError
	var notFinite *generate.NotFiniteError
	switch {
	case errors.As(err, &stopped) && stopped.Checkpoint != "":
		return "; resume with: " + i.resumeCommand()
	case errors.As(err, &stopped):
		return "; start again with: " + i.resumeCommand()
	case errors.Is(err, syscall.ENOSPC):
		return "; free some space there and try again"
	case errors.Is(err, engine.ErrDeviceLost):
		return "; try again, or use another --device (vlmtool devices lists them)"
	case errors.As(err, &notFinite):
		if f := i.Flags.Lookup("dtype"); f != nil && f.Value.String() == "f16" {
			return "; --dtype f32 has a larger range"
		}
		return "; use an earlier checkpoint or another model"
	case errors.Is(err, engine.ErrNoDevice) && i.Device != "" && i.Device != "cpu":
		return "; vlmtool devices lists the available ones"
	case errors.As(err, &badGGUF) && i.Flags.Lookup("model") != nil:
		return "; name a model's folder or a GGUF file"
	case errors.As(err, &badData) && badData.Reason == "permission denied":
		return "; change the permissions or use another file"
	case errors.As(err, &badData) && badData.Row < 0 && slices.Contains(notParquet, badData.Reason):
		return "; vlmtool data import makes parquet files of images and captions"
	case errors.Is(err, engine.ErrUnsupported) && i.Device != "" && i.Device != "cpu":
		return "; --device cpu has no such limits"
	}
	return ""
}

// hubName is OWNER/NAME, with a revision or not.
var hubName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)/([A-Za-z0-9][A-Za-z0-9._-]*)(@[A-Za-z0-9._/-]+)?$`)

// MissingModel replaces an error about a folder that does not exist and has the form of
// a name on the hub: it explains how to fetch it.
func (i Invocation) MissingModel(err error) error {
	var names []string
	for _, flag := range []string{"model", "decoder"} {
		if f := i.Flags.Lookup(flag); f != nil {
			names = append(names, f.Value.String())
		}
	}
	if i.Command == "inspect" {
		names = append(names, i.Flags.Args()...)
	}
	for _, name := range names {
		m := hubName.FindStringSubmatch(name)
		if m == nil || slices.Contains([]string{".parquet", ".gguf", ".json", ".safetensors"}, strings.ToLower(path.Ext(name))) || !strings.Contains(err.Error(), name) {
			continue
		}
		if _, statErr := os.Stat(name); !errors.Is(statErr, fs.ErrNotExist) {
			continue
		}
		hint := fmt.Errorf("no folder %s; if it is a repository of the hub, vlmtool fetch %[1]s --out %s downloads it", name, m[2])
		if errors.As(err, &usage.Error{}) {
			return usage.Error{Err: hint}
		}
		return hint
	}
	return err
}

// notParquet are the reasons of data errors about files of another kind.
var notParquet = []string{"not a parquet file", "no *.parquet in this folder"}

// resumeCommand is the command line with --resume, quoted for a shell.
func (i Invocation) resumeCommand() string {
	words := []string{"vlmtool"}
	for _, arg := range i.Args {
		words = append(words, shellWord(arg))
	}
	if resume, _ := i.Flags.GetBool("resume"); !resume {
		words = append(words, "--resume")
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word that has characters with a meaning to a shell.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,=+%@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
