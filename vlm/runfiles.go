package vlm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"patchwork/engine"
)

// runFile is run.json: what a run was started with.
type runFile struct {
	Recipe  Recipe      `json:"recipe"`
	Model   string      `json:"model,omitempty"` // the directory it went on from
	Decoder *runDecoder `json:"decoder,omitempty"`
	Data    runData     `json:"data"`
	ValData *runData    `json:"val_data,omitempty"`
	Device  engine.Info `json:"device"`
	Version string      `json:"vlmtool"`
	Go      string      `json:"go"`
}

// runDecoder is the pretrained decoder that a run started from.
type runDecoder struct {
	Path        string `json:"path"`
	Fingerprint string `json:"fingerprint"`
}

type runData struct {
	Files       []string `json:"files"`
	Rows        int      `json:"rows"`
	Fingerprint string   `json:"fingerprint"`
}

// ErrNotEmpty is an output folder that holds something.
var ErrNotEmpty = errors.New("is not empty; give another --out, or --resume to go on with the run in it")

// SettingsError names the settings in which a resumed run differs.
type SettingsError struct {
	Out   string
	Names []string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("%s: --resume with other settings than the run's: %s; leave them out, or begin another run in another --out", e.Out, strings.Join(e.Names, ", "))
}

// SavedRecipe returns the recipe of the run in a folder; ok is false where there
// is none yet.
func SavedRecipe(out string) (r Recipe, ok bool, err error) {
	saved, err := readRun(out)
	if errors.Is(err, os.ErrNotExist) {
		return r, false, nil
	}
	return saved.Recipe, err == nil, err
}

// SavedDecoder returns the path of the pretrained decoder that the run in a folder
// started from; "" where there is none.
func SavedDecoder(out string) string {
	saved, err := readRun(out)
	if err != nil || saved.Decoder == nil {
		return ""
	}
	return saved.Decoder.Path
}

func readRun(out string) (runFile, error) {
	r := runFile{Recipe: Recipe{Recompute: "auto"}}
	path := filepath.Join(out, "run.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w; move it away, and --resume with the run's own flags writes it anew", path, err)
	}
	return r, nil
}

// Finished says whether the folder holds a run that has come to its end: its weights
// are the last to get their name.
func Finished(out string) bool {
	_, err := os.Stat(filepath.Join(out, weightsFile))
	return err == nil
}

// writeRun writes run.json, or checks that a resumed run's settings are those of
// the one that is there.
func (t *trainer) writeRun() error {
	now := runFile{
		Recipe: t.Recipe, Model: t.Model, Decoder: t.decoder, Data: runData{t.train.dataset.Files(), t.train.dataset.Len(), t.train.dataset.Fingerprint()},
		Device: t.Device.Info(), Version: t.Version, Go: runtime.Version(),
	}
	if t.ValData != nil {
		now.ValData = &runData{t.val.dataset.Files(), t.val.dataset.Len(), t.val.dataset.Fingerprint()}
	}
	saved, err := readRun(t.Out)
	if errors.Is(err, os.ErrNotExist) {
		path := filepath.Join(t.Out, "run.json")
		text, err := indented(now)
		if err != nil {
			return err
		}
		if err := replaceFile(path, text); err != nil {
			return err
		}
		t.lock.wrote = append(t.lock.wrote, path)
		return nil
	}
	if err != nil {
		return err
	}
	names, err := RecipeDiff(saved.Recipe, now.Recipe)
	if err != nil {
		return err
	}
	if saved.Data.Fingerprint != now.Data.Fingerprint {
		names = append(names, "data")
	}
	if (saved.ValData == nil) != (now.ValData == nil) || saved.ValData != nil && saved.ValData.Fingerprint != now.ValData.Fingerprint {
		names = append(names, "val-data")
	}
	if saved.Model != now.Model {
		names = append(names, "model")
	}
	if (saved.Decoder == nil) != (now.Decoder == nil) || saved.Decoder != nil && saved.Decoder.Fingerprint != now.Decoder.Fingerprint {
		names = append(names, "decoder")
	}
	if len(names) > 0 {
		return &SettingsError{t.Out, names}
	}
	return nil
}

// RecipeDiff names the settings in which two recipes differ, as flags. How
// activations are kept is none of them: it changes no result.
func RecipeDiff(a, b Recipe) ([]string, error) {
	x, err := fields(a)
	if err != nil {
		return nil, err
	}
	y, err := fields(b)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, k := range slices.Sorted(maps.Keys(x)) {
		if k != "recompute" && string(x[k]) != string(y[k]) {
			names = append(names, strings.ReplaceAll(k, "_", "-"))
		}
	}
	return names, nil
}

func fields(r Recipe) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	return out, json.Unmarshal(data, &out)
}

// CheckOut refuses an output folder that holds something, unless the run in it
// is to go on.
func CheckOut(out string, resume bool) error {
	if resume {
		return nil
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != lockName {
		return fmt.Errorf("%s %w", out, ErrNotEmpty)
	}
	return nil
}
