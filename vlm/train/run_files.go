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
	"strconv"
	"strings"

	"patchwork/engine"
	"patchwork/internal/durable"
	"patchwork/internal/folderlock"
	"patchwork/internal/smallfile"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
)

// runFile is run.json: the settings of a run.
type runFile struct {
	Recipe  Recipe      `json:"recipe"`
	Model   string      `json:"model,omitempty"` // the model folder it started from
	MMProj  string      `json:"mmproj,omitempty"`
	Decoder *runDecoder `json:"decoder,omitempty"`
	Data    runData     `json:"data"`
	ValData *runData    `json:"val_data,omitempty"`
	Ranks   int         `json:"ranks"`
	Device  engine.Info `json:"device"`
	Version string      `json:"vlmtool"`
	Go      string      `json:"go"`
	Changes []runChange `json:"changes,omitempty"` // made by resumed runs, oldest first
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

// ErrNotEmpty reports an output folder that is not empty.
var ErrNotEmpty = errors.New("is not empty; give another --out, or --resume to continue the run in it")

// SettingsError names the settings that a resumed run cannot change.
type SettingsError struct {
	Out   string
	Names []string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("%s: --resume cannot change %s; leave that out, or start a new run in another --out (settings that change neither the model nor the order of the data can be changed, such as --lr and --steps)", e.Out, strings.Join(e.Names, ", "))
}

// SavedRecipe returns the recipe of the run in a folder; ok is false if there is none.
func SavedRecipe(out string) (r Recipe, ok bool, err error) {
	saved, err := readRun(out)
	if errors.Is(err, os.ErrNotExist) {
		return r, false, nil
	}
	return saved.Recipe, err == nil, err
}

// SavedFiles returns the names of the files that the run in a folder reads, or nil.
func SavedFiles(out string) []string {
	saved, err := readRun(out)
	if err != nil {
		return nil
	}
	files := saved.Data.Files
	if saved.ValData != nil {
		files = append(files, saved.ValData.Files...)
	}
	return files
}

// SavedDecoder returns the path of the pretrained decoder that the run in a folder started from,
// or "".
func SavedDecoder(out string) string {
	saved, err := readRun(out)
	if err != nil || saved.Decoder == nil {
		return ""
	}
	return saved.Decoder.Path
}

func readRun(out string) (runFile, error) {
	r := runFile{Recipe: defaultRecipe(), Ranks: 1}
	path := filepath.Join(out, "run.json")
	data, err := smallfile.Read(path, smallfile.Config)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w; move the file away, then --resume with the flags of the run writes a new one", path, err)
	}
	return r, nil
}

// Finished reports whether the run in a folder is finished. Its weights are the last file to be
// written.
func Finished(out string) bool {
	return slices.ContainsFunc(results(out), func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// results are the files of which a finished run has one: a model's weights or an adapter's.
func results(out string) []string {
	return []string{filepath.Join(out, pretrained.WeightsFile), filepath.Join(out, adapterFolder, pretrained.AdapterWeightsFile)}
}

// removeResult removes what marks a finished run, for one that is given more steps.
func (t *trainer) removeResult() error {
	err := os.RemoveAll(filepath.Join(t.Out, adapterFolder))
	if missing := os.Remove(filepath.Join(t.Out, pretrained.WeightsFile)); !errors.Is(missing, os.ErrNotExist) {
		err = errors.Join(err, missing)
	}
	return err
}

// runChange is a change of settings by a resumed run: old and new value by name.
type runChange struct {
	Step     int                           `json:"step"` // the last step before the change
	Settings map[string][2]json.RawMessage `json:"settings"`
}

// changeableSettings are the settings that a resumed run may change: they affect neither the model
// nor the order of the rows.
var changeableSettings = []string{
	"steps", "epochs", "lr", "embedder-lr", "lr-floor", "warmup", "weight-decay", "clip", "muon-scale", "beta1", "beta2", "eps",
	"val-every", "val-rows", "save-every", "dtype", "max-bad-fraction", "qat", "qat-steps",
}

// writeRun writes run.json. For a resumed run it compares the settings and records or rejects
// changes.
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
		t.lock.createdFiles = append(t.lock.createdFiles, path)
		return nil
	case err != nil:
		return err
	}
	changed, err := t.compareRun(saved, now)
	if t.finished {
		t.unusedSettings = changed
	}
	if err != nil || len(changed) == 0 || t.finished {
		return err
	}
	if now.Changes, err = t.recordChanges(saved, now, changed); err != nil {
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
		Recipe: t.Recipe, Model: t.Model, MMProj: t.MMProj, Decoder: t.decoder, Data: runData{t.train.Dataset().Files(), t.train.Dataset().Len(), t.train.Dataset().Fingerprint()},
		Ranks: t.World.Size(), Device: t.Device.Info(), Version: t.Version, Go: runtime.Version(),
	}
	if t.ValData != nil {
		now.ValData = &runData{t.val.Dataset().Files(), t.val.Dataset().Len(), t.val.Dataset().Fingerprint()}
	}
	return now
}

// compareRun returns the names of the settings that a resumed run changes, or a *SettingsError if
// it cannot change one of them.
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
	if saved.MMProj != now.MMProj {
		names = append(names, "mmproj")
	}
	if (saved.Decoder == nil) != (now.Decoder == nil) || saved.Decoder != nil && saved.Decoder.Fingerprint != now.Decoder.Fingerprint {
		names = append(names, "decoder")
	}
	sameStep := saved.rowsPerStep() == now.rowsPerStep()
	sameFiles := saved.Recipe.Optimizer != OptimizerMuon && now.Recipe.Optimizer != OptimizerMuon // of moments
	refused := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.Contains(changeableSettings, name) || sameStep && slices.Contains(splitSettings, name) || sameFiles && name == "optimizer"
	})
	if len(refused) > 0 {
		return nil, &SettingsError{t.Out, refused}
	}
	if saved.Ranks == now.Ranks || t.finished {
		return names, nil
	}
	if !sameStep {
		return nil, &RanksError{t.Out, saved, now}
	}
	return append(names, "ranks"), nil
}

// splitSettings divide the rows of a step, which the ranks share: with the same number of rows in
// all, a resumed run may change them.
var splitSettings = []string{"batch-size", "accumulate"}

// rowsPerStep is the number of packed rows in a step of all ranks.
func (r runFile) rowsPerStep() int { return r.Recipe.BatchSize * r.Recipe.Accumulate * max(1, r.Ranks) }

// RanksError reports that a run is resumed with a number of ranks that changes its steps.
type RanksError struct {
	Out        string
	saved, now runFile
}

func (e *RanksError) Error() string {
	rows, micro := e.saved.rowsPerStep(), e.now.Recipe.BatchSize*e.now.Ranks
	fix := fmt.Sprintf("--batch-size and --accumulate must multiply to %d with the number of ranks", rows)
	if rows%micro == 0 {
		fix = fmt.Sprintf("give --accumulate %d", rows/micro)
	} else if rows%e.now.Ranks == 0 {
		fix = fmt.Sprintf("give --batch-size %d --accumulate 1", rows/e.now.Ranks)
	}
	return fmt.Sprintf("%s: the run takes %d rows a step with %d ranks; with %d ranks and the same --batch-size and --accumulate a step would have %d: %s",
		e.Out, rows, e.saved.Ranks, e.now.Ranks, e.now.rowsPerStep(), fix)
}

// recordChanges notes the changed settings and returns the list of changes with them appended.
func (t *trainer) recordChanges(saved, now runFile, names []string) ([]runChange, error) {
	before, err := recipeFields(saved.Recipe)
	if err != nil {
		return nil, err
	}
	after, err := recipeFields(now.Recipe)
	if err != nil {
		return nil, err
	}
	change := runChange{Step: t.restored.State.Step, Settings: map[string][2]json.RawMessage{}}
	var texts []string
	before["ranks"], after["ranks"] = json.RawMessage(strconv.Itoa(saved.Ranks)), json.RawMessage(strconv.Itoa(now.Ranks))
	for _, name := range names {
		key := strings.ReplaceAll(name, "-", "_")
		change.Settings[key] = [2]json.RawMessage{before[key], after[key]}
		if name == "ranks" {
			texts = append(texts, fmt.Sprintf("%s ranks (were %s)", after[key], before[key]))
			continue
		}
		texts = append(texts, fmt.Sprintf("--%s %s (was %s)", name, after[key], before[key]))
	}
	t.note("from step %d on: %s", change.Step+1, strings.Join(texts, ", "))
	return append(saved.Changes, change), nil
}

// RecipeDiff returns the names of the settings in which two recipes differ, as flags. --recompute
// is ignored, as it does not change results.
func RecipeDiff(a, b Recipe) ([]string, error) {
	x, err := recipeFields(a)
	if err != nil {
		return nil, err
	}
	y, err := recipeFields(b)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, k := range slices.Sorted(maps.Keys(x)) {
		switch {
		case k == "recompute" || string(x[k]) == string(y[k]):
		case k == "vision_config" && differInMeanColors(a.Vision, b.Vision):
			names = append(names, "mean-colors")
		case k == "vision_config" && differInEmbedder(a.Vision, b.Vision):
			names = append(names, "embedder")
		case k == "vision_config" && differInSize(a.Vision, b.Vision):
			names = append(names, "image-size")
		default:
			names = append(names, strings.ReplaceAll(k, "_", "-"))
		}
	}
	return names, nil
}

// differInMeanColors reports whether that is the only difference between two configurations.
func differInMeanColors(a, b vlm.VisionConfig) bool {
	b.MeanColors = !b.MeanColors
	return a == b
}

// differInEmbedder reports whether the embedder is the only difference between two configurations.
func differInEmbedder(a, b vlm.VisionConfig) bool {
	b.Embedder, b.EncoderLayers, b.EncoderHeads = a.Embedder, a.EncoderLayers, a.EncoderHeads
	return a == b
}

// differInSize reports whether the size of images is the only difference between two configurations.
func differInSize(a, b vlm.VisionConfig) bool {
	b.ImageSize, b.MaxPatches, b.MaxGrid = a.ImageSize, a.MaxPatches, a.MaxGrid
	return a == b
}

func recipeFields(r Recipe) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	return out, json.Unmarshal(data, &out)
}

// CheckOut returns an error if the output folder is not empty and the run in it is not resumed.
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

// runLock is the exclusive lock on a run's folder, with the files to remove if the run fails to
// start.
type runLock struct {
	*folderlock.Lock
	createdDir   string // the folder, if this run created it
	createdFiles []string
}

// ErrBusy reports a folder that is locked by another run.
var ErrBusy = errors.New("another run is using it")

func lockRun(out string) (*runLock, error) {
	l := &runLock{}
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		l.createdDir = out
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

func (l *runLock) release() {
	if l != nil {
		l.Release()
	}
}

// abandon removes the files of a run that failed to start.
func (l *runLock) abandon() error {
	if l == nil {
		return nil
	}
	var err error
	for _, path := range l.createdFiles {
		err = errors.Join(err, os.Remove(path))
	}
	err = errors.Join(err, l.Remove())
	if l.createdDir != "" {
		err = errors.Join(err, os.Remove(l.createdDir))
	}
	return err
}
