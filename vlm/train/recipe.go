package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// Recipe is everything that decides what a training run does with its data: a
// preset, or what --print-config printed and --config takes.
type Recipe struct {
	Preset  string           `json:"preset"`
	Vision  vlm.VisionConfig `json:"vision_config"`
	Text    *vlm.TextConfig  `json:"text_config"` // the decoder; a pretrained one's own counts where it is given
	Decoder string           `json:"decoder_repo,omitempty"`
	Init    vlm.Init         `json:"init"`

	Attention packing.Attention `json:"attention"`
	Turns     packing.Turns     `json:"turns"`
	Loss      packing.Loss      `json:"loss"`

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
	data, err := pretrained.Presets.ReadFile("presets/" + name + "/recipe.json")
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
func (r *Recipe) Modes() packing.Modes {
	return packing.Modes{Attention: r.Attention, Turns: r.Turns, Loss: r.Loss}
}

// frozenThroughout says whether the decoder is never trained.
func (r *Recipe) frozenThroughout() bool { return r.Epochs == 0 && r.FreezeDecoderSteps >= r.Steps }

// The largest settings of a recipe. Kernels count in 32 bits; samples that are packed
// together are kept in memory; the largest runs that were published take steps of some
// hundred million tokens.
const (
	MaxSeqLen     = 1 << 17
	MaxBatchSize  = 1 << 12
	MaxAccumulate = 1 << 20
	MaxPoolSize   = 1 << 20
	maxStepTokens = 1 << 31
)

func within(n, lo, hi int) bool { return lo <= n && n <= hi }

// Check says which setting is wrong.
func (r *Recipe) Check() error {
	if err := r.Modes().Check(); err != nil {
		return err
	}
	if err := r.Vision.Check(); err != nil {
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
		{"seq-len", float64(r.SeqLen), within(r.SeqLen, 2, MaxSeqLen), "2 to 131072"},
		{"batch-size", float64(r.BatchSize), within(r.BatchSize, 1, MaxBatchSize), "1 to 4096"},
		{"accumulate", float64(r.Accumulate), within(r.Accumulate, 1, MaxAccumulate), "1 to 1048576"},
		{"pool-size", float64(r.PoolSize), within(r.PoolSize, 1, MaxPoolSize), "1 to 1048576"},
		{"steps", float64(r.Steps), within(r.Steps, 1, math.MaxInt32) || within(r.Steps, 0, math.MaxInt32) && r.Epochs > 0, "1 to 2147483647"},
		{"epochs", float64(r.Epochs), within(r.Epochs, 0, math.MaxInt32), "0 to 2147483647"},
		{"lr", r.LR, r.LR >= 0, "0 or above"},
		{"embedder-lr", r.EmbedderLR, r.EmbedderLR >= 0, "0 or above"},
		{"warmup", float64(r.Warmup), within(r.Warmup, 0, math.MaxInt32), "0 to 2147483647"},
		{"freeze-decoder-steps", float64(r.FreezeDecoderSteps), within(r.FreezeDecoderSteps, 0, math.MaxInt32), "0 to 2147483647"},
		{"weight-decay", r.WeightDecay, r.WeightDecay >= 0, "0 or above"},
		{"clip", r.Clip, r.Clip >= 0, "0 or above"},
		{"holdout", float64(r.HoldOut), within(r.HoldOut, 0, math.MaxInt32), "0 to 2147483647"},
		{"val-every", float64(r.ValEvery), within(r.ValEvery, 0, math.MaxInt32), "0 to 2147483647"},
		{"save-every", float64(r.SaveEvery), within(r.SaveEvery, 0, math.MaxInt32), "0 to 2147483647"},
		{"max-bad-fraction", r.MaxBadFraction, r.MaxBadFraction >= 0 && r.MaxBadFraction <= 1, "0 to 1"},
	} {
		if !s.ok {
			return fmt.Errorf("--%s cannot be %.10g, want %s", s.name, s.value, s.want)
		}
	}
	if tokens := int64(r.SeqLen) * int64(r.BatchSize) * int64(r.Accumulate); tokens > maxStepTokens {
		return fmt.Errorf("--accumulate %d times --batch-size %d times --seq-len %d are %d tokens a step; the most is %d, so that its targets can be counted", r.Accumulate, r.BatchSize, r.SeqLen, tokens, int64(maxStepTokens))
	}
	if _, ok := shaders.ParseType(r.DType); !ok {
		return fmt.Errorf("--dtype is %q, want f32, f16 or bf16", r.DType)
	}
	if !slices.Contains([]string{"auto", "on", "off"}, r.Recompute) {
		return fmt.Errorf("--recompute is %q, want auto, on or off", r.Recompute)
	}
	return nil
}

// config is the model that the recipe builds with its own decoder.
func (r *Recipe) config(text vlm.TextConfig, imageToken int) vlm.Config {
	v := r.Vision
	v.HiddenSize = text.HiddenSize
	return vlm.Config{ModelType: vlm.ModelType, Vision: v, Text: text, ImageTokenID: imageToken, Attention: r.Attention, Turns: r.Turns, FormatVersion: vlm.FormatVersion}
}

// storage is how activations and the weights that products read are stored.
func (r Recipe) storage() shaders.Type {
	t, _ := shaders.ParseType(r.DType)
	return t
}
