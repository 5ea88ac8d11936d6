package train

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
	"patchwork/internal/durable"
	"patchwork/internal/folderlock"
	"patchwork/internal/smallfile"
	"patchwork/vlm/pretrained"
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
	Changes []runChange `json:"changes,omitempty"` // of resumed runs, oldest first
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
	return fmt.Sprintf("%s: --resume cannot change %s; leave that out, or begin another run in another --out (--lr, --steps and what else changes neither the model nor the order of the data can be changed)", e.Out, strings.Join(e.Names, ", "))
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
	data, err := smallfile.Read(path, smallfile.Config)
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
	_, err := os.Stat(filepath.Join(out, pretrained.WeightsFile))
	return err == nil
}

// runChange is what a resumed run does otherwise than before.
type runChange struct {
	Step     int                           `json:"step"` // from the one behind it on
	Settings map[string][2]json.RawMessage `json:"settings"`
}

// changeable are the settings of a recipe that a resumed run may have otherwise: they
// change neither the model nor which rows come when.
var changeable = []string{
	"steps", "epochs", "lr", "embedder-lr", "lr-floor", "warmup", "weight-decay", "clip", "beta1", "beta2", "eps",
	"val-every", "val-rows", "save-every", "dtype", "max-bad-fraction",
}

// writeRun writes run.json. That of a resumed run is checked: a setting that differs is
// refused, or noted as changed.
func (t *trainer) writeRun() error {
	now := t.describeRun()
	path := filepath.Join(t.Out, "run.json")
	saved, err := readRun(t.Out)
	switch {
	case errors.Is(err, os.ErrNotExist):
		text, err := pretrained.Indented(now)
		if err != nil {
			return err
		}
		if err := durable.Replace(path, text); err != nil {
			return err
		}
		t.lock.wrote = append(t.lock.wrote, path)
		return nil
	case err != nil:
		return err
	}
	changed, err := t.compareRun(saved, now)
	if t.finished {
		t.unused = changed
	}
	if err != nil || len(changed) == 0 || t.finished {
		return err
	}
	if now.Changes, err = t.noteChanges(saved, now, changed); err != nil {
		return err
	}
	text, err := pretrained.Indented(now)
	if err != nil {
		return err
	}
	return durable.Replace(path, text)
}

func (t *trainer) describeRun() runFile {
	now := runFile{
		Recipe: t.Recipe, Model: t.Model, Decoder: t.decoder, Data: runData{t.train.dataset.Files(), t.train.dataset.Len(), t.train.dataset.Fingerprint()},
		Device: t.Device.Info(), Version: t.Version, Go: runtime.Version(),
	}
	if t.ValData != nil {
		now.ValData = &runData{t.val.dataset.Files(), t.val.dataset.Len(), t.val.dataset.Fingerprint()}
	}
	return now
}

// compareRun returns the settings that a resumed run changes; a *SettingsError names
// those that it cannot change.
func (t *trainer) compareRun(saved, now runFile) (changed []string, err error) {
	names, err := RecipeDiff(saved.Recipe, now.Recipe)
	if err != nil {
		return nil, err
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
	refused := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(changeable, name) })
	if len(refused) > 0 {
		return nil, &SettingsError{t.Out, refused}
	}
	return names, nil
}

// noteChanges says what changes, and adds it to what changed before.
func (t *trainer) noteChanges(saved, now runFile, names []string) ([]runChange, error) {
	before, err := fields(saved.Recipe)
	if err != nil {
		return nil, err
	}
	after, err := fields(now.Recipe)
	if err != nil {
		return nil, err
	}
	change := runChange{Step: t.saved.State.Step, Settings: map[string][2]json.RawMessage{}}
	var said []string
	for _, name := range names {
		key := strings.ReplaceAll(name, "-", "_")
		change.Settings[key] = [2]json.RawMessage{before[key], after[key]}
		said = append(said, fmt.Sprintf("--%s %s (it was %s)", name, after[key], before[key]))
	}
	t.note("from step %d on: %s", change.Step+1, strings.Join(said, ", "))
	return append(saved.Changes, change), nil
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
	if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != folderlock.Name {
		return fmt.Errorf("%s %w", out, ErrNotEmpty)
	}
	return nil
}

// runLock is a folder that one run has for itself.
type runLock struct {
	*folderlock.Lock
	made  string   // the folder, where it was made by this run
	wrote []string // files of this run's making
}

// ErrBusy is a folder that another run is using.
var ErrBusy = errors.New("another run is using it")

func lockRun(out string) (*runLock, error) {
	l := &runLock{}
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		l.made = out
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	lock, err := folderlock.Take(out)
	if errors.Is(err, folderlock.ErrBusy) {
		return nil, fmt.Errorf("%s: %w", out, ErrBusy)
	} else if err != nil {
		return nil, err
	}
	l.Lock = lock
	return l, nil
}

func (l *runLock) release() { l.Release() }

// abandon removes what a run that could not start has made.
func (l *runLock) abandon() error {
	var err error
	for _, path := range l.wrote {
		err = errors.Join(err, os.Remove(path))
	}
	err = errors.Join(err, l.Remove())
	if l.made != "" {
		err = errors.Join(err, os.Remove(l.made))
	}
	return err
}
