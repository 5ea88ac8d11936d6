package vlm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/shaders"
	"patchwork/vlm/batch"
)

// Recipe is everything that decides what a training run does with its data: a
// preset, or what --print-config printed and --config takes.
type Recipe struct {
	Preset  string       `json:"preset"`
	Vision  VisionConfig `json:"vision_config"`
	Text    *TextConfig  `json:"text_config"` // the decoder; a pretrained one's own counts where it is given
	Decoder string       `json:"decoder_repo,omitempty"`
	Init    Init         `json:"init"`

	Attention batch.Attention `json:"attention"`
	Turns     batch.Turns     `json:"turns"`
	Loss      batch.Loss      `json:"loss"`

	SeqLen     int  `json:"seq_len"`    // tokens of a row
	BatchSize  int  `json:"batch_size"` // rows of a micro-batch
	Accumulate int  `json:"accumulate"` // micro-batches of a step
	PoolSize   int  `json:"pool_size"`  // samples that are packed together
	Shuffle    bool `json:"shuffle"`

	Steps              int     `json:"steps"`
	Epochs             int     `json:"epochs"` // instead of steps, when above 0
	LR                 float64 `json:"lr"`
	EmbedderLR         float64 `json:"embedder_lr"`
	Warmup             int     `json:"warmup"`   // steps
	LRFloor            float64 `json:"lr_floor"` // last learning rate, as a fraction of the peak
	Beta1              float64 `json:"beta1"`
	Beta2              float64 `json:"beta2"`
	Eps                float64 `json:"eps"`
	WeightDecay        float64 `json:"weight_decay"`
	Clip               float64 `json:"clip"`
	FreezeDecoderSteps int     `json:"freeze_decoder_steps"`
	HoldOut            int     `json:"holdout"`
	ValEvery           int     `json:"val_every"`
	ValRows            int     `json:"val_rows"` // of the held-out rows, at each validation
	SaveEvery          int     `json:"save_every"`
	DType              string  `json:"dtype"`
	Recompute          string  `json:"recompute"` // activations: "on", "off", or "auto": when memory asks for it
	Seed               uint64  `json:"seed"`
	MaxBadFraction     float64 `json:"max_bad_fraction"`
}

// PresetNames are the values of --preset.
var PresetNames = []string{"shapes", "smollm2-135m-small", "smollm2-135m", "smollm2-360m", "qwen3-1.7b"}

// Preset returns a preset's recipe.
func Preset(name string) (Recipe, error) {
	if !slices.Contains(PresetNames, name) {
		return Recipe{}, fmt.Errorf("there is no preset %q; there are %s", name, strings.Join(PresetNames, ", "))
	}
	data, err := presets.ReadFile("presets/" + name + "/recipe.json")
	if err != nil {
		return Recipe{}, err
	}
	return parseRecipe(data, "preset "+name)
}

// ReadRecipe reads a recipe's file.
func ReadRecipe(path string) (Recipe, error) {
	data, err := smallfile.Read(path, smallfile.Config)
	if err != nil {
		return Recipe{}, err
	}
	return parseRecipe(data, path)
}

func parseRecipe(data []byte, name string) (Recipe, error) {
	r := Recipe{Recompute: "auto"}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Modes are the recipe's choices for package batch.
func (r *Recipe) Modes() batch.Modes {
	return batch.Modes{Attention: r.Attention, Turns: r.Turns, Loss: r.Loss}
}

// frozenThroughout says whether the decoder is never trained.
func (r *Recipe) frozenThroughout() bool { return r.Epochs == 0 && r.FreezeDecoderSteps >= r.Steps }

// Check says which setting is wrong.
func (r *Recipe) Check() error {
	if err := r.Modes().Check(); err != nil {
		return err
	}
	if err := r.Vision.check(); err != nil {
		return err
	}
	if r.Text == nil {
		return errors.New("the recipe has no text_config")
	}
	for _, s := range []struct {
		name  string
		value float64
		ok    bool
		want  string
	}{
		{"seq-len", float64(r.SeqLen), r.SeqLen > 1 && r.SeqLen <= 1<<17, "2 to 131072"},
		{"batch-size", float64(r.BatchSize), r.BatchSize > 0 && r.BatchSize <= 1<<12, "1 to 4096"},
		{"accumulate", float64(r.Accumulate), r.Accumulate > 0, "above 0"},
		{"pool-size", float64(r.PoolSize), r.PoolSize > 0, "above 0"},
		{"steps", float64(r.Steps), r.Steps > 0 || r.Epochs > 0, "above 0"},
		{"lr", r.LR, r.LR >= 0, "0 or above"},
		{"embedder-lr", r.EmbedderLR, r.EmbedderLR >= 0, "0 or above"},
		{"warmup", float64(r.Warmup), r.Warmup >= 0, "0 or above"},
		{"weight-decay", r.WeightDecay, r.WeightDecay >= 0, "0 or above"},
		{"clip", r.Clip, r.Clip >= 0, "0 or above"},
		{"holdout", float64(r.HoldOut), r.HoldOut >= 0, "0 or above"},
		{"val-every", float64(r.ValEvery), r.ValEvery >= 0, "0 or above"},
		{"save-every", float64(r.SaveEvery), r.SaveEvery >= 0, "0 or above"},
		{"max-bad-fraction", r.MaxBadFraction, r.MaxBadFraction >= 0 && r.MaxBadFraction <= 1, "0 to 1"},
	} {
		if !s.ok {
			return fmt.Errorf("--%s cannot be %v, want %s", s.name, s.value, s.want)
		}
	}
	if _, ok := shaders.ParseType(r.DType); !ok {
		return fmt.Errorf("--dtype is %q, want f32, f16 or bf16", r.DType)
	}
	if !slices.Contains([]string{"auto", "on", "off"}, r.Recompute) {
		return fmt.Errorf("--recompute is %q, want auto, on or off", r.Recompute)
	}
	return nil
}

// Config is the model that the recipe builds with its own decoder.
func (r *Recipe) config(text TextConfig, imageToken int) Config {
	v := r.Vision
	v.HiddenSize = text.HiddenSize
	return Config{ModelType: modelType, Vision: v, Text: text, ImageTokenID: imageToken, Attention: r.Attention, Turns: r.Turns, FormatVersion: formatVersion}
}

// storage is how activations and the weights that products read are stored.
func (r Recipe) storage() shaders.Type {
	t, _ := shaders.ParseType(r.DType)
	return t
}
