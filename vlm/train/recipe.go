package train

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/loader"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// Recipe is the complete configuration of a training run except its files: a preset, or the output
// of --print-config, which --config reads.
type Recipe struct {
	Preset  string           `json:"preset"`
	Vision  vlm.VisionConfig `json:"vision_config,omitzero"`
	Audio   vlm.AudioConfig  `json:"audio_config,omitzero"`
	Text    *vlm.TextConfig  `json:"text_config"` // the decoder; replaced by that of a pretrained decoder
	Decoder string           `json:"decoder_repo,omitempty"`
	// ImageExperts is vlm.Config's. They start as copies of the decoder's weights.
	ImageExperts bool     `json:"image_experts,omitempty"`
	Init         vlm.Init `json:"init"`

	Attention packing.Attention `json:"attention"`
	Turns     packing.Turns     `json:"turns"`
	Loss      packing.Loss      `json:"loss"`

	SeqLen     int  `json:"seq_len"`    // tokens per row
	BatchSize  int  `json:"batch_size"` // rows per micro-batch
	Accumulate int  `json:"accumulate"` // micro-batches per step
	PoolSize   int  `json:"pool_size"`  // samples packed together
	Shuffle    bool `json:"shuffle"`
	// ShuffleBuffer is the number of dataset rows that are mixed with each other.
	ShuffleBuffer ShuffleBuffer `json:"shuffle_buffer"`
	Flip          bool          `json:"flip"` // mirror images at random, where no text of their row names a side
	// PerturbAudio changes sound at random: where it begins, how fast it is, and its noise.
	PerturbAudio bool `json:"perturb_audio,omitempty"`

	Steps      int     `json:"steps"`
	Epochs     int     `json:"epochs"` // used instead of Steps if above 0
	LR         float64 `json:"lr"`
	EmbedderLR float64 `json:"embedder_lr"`
	Warmup     int     `json:"warmup"`   // steps
	LRFloor    float64 `json:"lr_floor"` // last learning rate, as a fraction of the peak
	// Optimizer is "adamw"; "adamw8bit", which keeps AdamW's moments in 8 bits; or "muon": Muon for the
	// matrices between the embedding and the head that start from random numbers, AdamW for all other
	// parameters.
	Optimizer string `json:"optimizer"`
	// MuonScale is the learning rate of Muon's matrices as a multiple of their group's.
	MuonScale          float64 `json:"muon_scale"`
	Beta1              float64 `json:"beta1"`
	Beta2              float64 `json:"beta2"`
	Eps                float64 `json:"eps"`
	WeightDecay        float64 `json:"weight_decay"`
	Clip               float64 `json:"clip"`
	FreezeDecoderSteps int     `json:"freeze_decoder_steps"`
	HoldOut            int     `json:"holdout"`
	ValEvery           int     `json:"val_every"`
	ValRows            int     `json:"val_rows"` // held-out rows used in each validation
	SaveEvery          int     `json:"save_every"`
	DType              string  `json:"dtype"`
	Recompute          string  `json:"recompute"` // activation checkpointing: "on", "off", or "auto": if memory is short
	Seed               uint64  `json:"seed"`
	MaxBadFraction     float64 `json:"max_bad_fraction"`

	// Adapter makes the run train LoRA adapters on a frozen base, which is stored as BaseWeights.
	Adapter     *vlm.Adapter       `json:"adapter,omitempty"`
	BaseWeights pretrained.Weights `json:"base_weights,omitempty"`

	// QAT is the type to which the decoder's matrices are rounded in the last QATSteps steps, all if that
	// is 0; QATNone = no step.
	QAT      string `json:"qat"`
	QATSteps int    `json:"qat_steps"`
}

// defaultRecipe has the values of settings that older recipes and presets leave out.
func defaultRecipe() Recipe {
	return Recipe{Recompute: "auto", ShuffleBuffer: DefaultShuffleBuffer, Optimizer: OptimizerAdamW, MuonScale: 1, QAT: QATNone}
}

// The values of Recipe.Optimizer.
const (
	OptimizerAdamW     = "adamw"
	OptimizerAdamW8Bit = "adamw8bit"
	OptimizerMuon      = "muon"
)

// muonMomentum is the momentum of Muon (Jordan et al. 2024).
const muonMomentum = 0.95

// optimizer returns the optimizer's constant settings.
func (r *Recipe) optimizer() nn.AdamW {
	return nn.AdamW{
		Beta1: r.Beta1, Beta2: r.Beta2, Eps: r.Eps, WeightDecay: r.WeightDecay, MaxNorm: r.Clip,
		Muon: nn.Muon{Momentum: muonMomentum, Scale: r.MuonScale},
	}
}

// useOptimizer marks the matrices of the model's random groups for Muon, or stores the moments in 8
// bits, if the recipe says so.
func (r *Recipe) useOptimizer(m *vlm.Model, random ...string) {
	switch r.Optimizer {
	case OptimizerMuon:
		m.UseMuon(random...)
	case OptimizerAdamW8Bit:
		m.Params.EightBitMoments()
	}
}

// DefaultShuffleBuffer is the shuffle buffer of recipes that do not say, in rows.
const DefaultShuffleBuffer ShuffleBuffer = 10_000

// ShuffleBuffer is a number of rows; data.AllRows is "all".
type ShuffleBuffer int

const allRows = "all"

func (b ShuffleBuffer) String() string {
	switch b {
	case data.AllRows:
		return allRows
	case 0: // the zero value of a flag, which takes the recipe's
		return ""
	}
	return strconv.Itoa(int(b))
}

// Set parses a number of rows or "all". With Type it makes a command-line flag.
func (b *ShuffleBuffer) Set(s string) error {
	if s == allRows {
		*b = data.AllRows
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return errors.New(`want a number of rows from 1 on, or "all"`)
	}
	*b = ShuffleBuffer(n)
	return nil
}

// Type is the name of the value in the help of the command line.
func (b *ShuffleBuffer) Type() string { return "rows" }

// MarshalJSON writes a number, or "all".
func (b ShuffleBuffer) MarshalJSON() ([]byte, error) {
	if b == data.AllRows {
		return []byte(`"` + allRows + `"`), nil
	}
	return []byte(b.String()), nil
}

// UnmarshalJSON reads a number, or "all".
func (b *ShuffleBuffer) UnmarshalJSON(text []byte) error {
	if err := b.Set(strings.Trim(string(text), `"`)); err != nil {
		return fmt.Errorf("shuffle_buffer: %w", err)
	}
	return nil
}

// shuffleBytes limits the shuffle buffer's memory: compressed images and texts.
const shuffleBytes = 1 << 30

// loaderConfig returns the settings for loading the data of a model with the given pictures and
// sound.
func (r *Recipe) loaderConfig(v vlm.VisionConfig, a vlm.AudioConfig) loader.Config {
	c := loader.Config{
		BatchSize: r.BatchSize, Accumulate: r.Accumulate, SeqLen: r.SeqLen, PoolSize: r.PoolSize, Modes: r.Modes(),
		Shuffle: data.Shuffle{Seed: r.Seed, Buffer: int(r.ShuffleBuffer), Bytes: shuffleBytes},
		Epochs:  r.Epochs, Vision: v, Audio: a, Flip: r.Flip, Perturb: r.PerturbAudio, MaxBadFraction: r.MaxBadFraction,
	}
	if !r.Shuffle {
		c.Shuffle.Buffer = 0
	}
	return c
}

// PresetNames are the values of --preset.
var PresetNames = []string{"shapes", "smollm2-135m-small", "smollm2-135m", "smollm2-360m", "qwen3-1.7b", "words"}

// Preset returns a preset's recipe.
func Preset(name string) (Recipe, error) {
	if !slices.Contains(PresetNames, name) {
		return Recipe{}, fmt.Errorf("unknown preset %q, want one of %s", name, strings.Join(PresetNames, ", "))
	}
	data, err := pretrained.Presets.ReadFile("presets/" + name + "/recipe.json")
	if err != nil {
		return Recipe{}, err
	}
	return parseRecipe(data, "preset "+name)
}

// ReadRecipe reads a recipe from a file.
func ReadRecipe(path string) (Recipe, error) {
	data, err := smallfile.Read(path, smallfile.Config)
	if err != nil {
		return Recipe{}, err
	}
	return parseRecipe(data, path)
}

func parseRecipe(data []byte, name string) (Recipe, error) {
	r := defaultRecipe()
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Modes returns the recipe's modes of packing.
func (r *Recipe) Modes() packing.Modes {
	return packing.Modes{Attention: r.Attention, Turns: r.Turns, Loss: r.Loss}
}

// frozenThroughout reports whether the decoder is never trained.
func (r *Recipe) frozenThroughout() bool { return r.Epochs == 0 && r.FreezeDecoderSteps >= r.Steps }

// Upper limits of settings. Kernels index with 32 bits, and the samples of a pool are held in
// memory. The largest published runs take some hundred million tokens per step.
const (
	MaxSeqLen     = 1 << 17
	MaxBatchSize  = 1 << 12
	MaxAccumulate = 1 << 20
	MaxPoolSize   = 1 << 20
	maxStepTokens = 1 << 31
)

func within(n, lo, hi int) bool { return lo <= n && n <= hi }

// Check returns an error that names the first invalid setting.
func (r *Recipe) Check() error {
	if err := r.Modes().Check(); err != nil {
		return err
	}
	if err := r.checkMedia(); err != nil {
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
		{"muon-scale", r.MuonScale, r.MuonScale >= 0, "0 or above"},
		{"weight-decay", r.WeightDecay, r.WeightDecay >= 0, "0 or above"},
		{"clip", r.Clip, r.Clip >= 0, "0 or above"},
		{"holdout", float64(r.HoldOut), within(r.HoldOut, 0, math.MaxInt32), "0 to 2147483647"},
		{"val-every", float64(r.ValEvery), within(r.ValEvery, 0, math.MaxInt32), "0 to 2147483647"},
		{"save-every", float64(r.SaveEvery), within(r.SaveEvery, 0, math.MaxInt32), "0 to 2147483647"},
		{"shuffle-buffer", float64(r.ShuffleBuffer), r.ShuffleBuffer > 0, `1 or more, or "all"`},
		{"max-bad-fraction", r.MaxBadFraction, r.MaxBadFraction >= 0 && r.MaxBadFraction <= 1, "0 to 1"},
	} {
		if !s.ok {
			return fmt.Errorf("--%s cannot be %.10g, want %s", s.name, s.value, s.want)
		}
	}
	if tokens := int64(r.SeqLen) * int64(r.BatchSize) * int64(r.Accumulate); tokens > maxStepTokens {
		return fmt.Errorf("--accumulate %d × --batch-size %d × --seq-len %d is %d tokens per step, more than the limit of %d", r.Accumulate, r.BatchSize, r.SeqLen, tokens, int64(maxStepTokens))
	}
	if _, ok := shaders.ParseType(r.DType); !ok {
		return fmt.Errorf("--dtype is %q, want f32, f16 or bf16", r.DType)
	}
	if !slices.Contains([]string{OptimizerAdamW, OptimizerAdamW8Bit, OptimizerMuon}, r.Optimizer) {
		return fmt.Errorf("--optimizer is %q, want adamw, adamw8bit or muon", r.Optimizer)
	}
	if err := cmp.Or(r.checkAdapter(), r.checkQAT()); err != nil {
		return err
	}
	if !slices.Contains([]string{"auto", "on", "off"}, r.Recompute) {
		return fmt.Errorf("--recompute is %q, want auto, on or off", r.Recompute)
	}
	return nil
}

// checkMedia checks the settings of images and sound, of which there must be one.
func (r *Recipe) checkMedia() error {
	if r.Vision.None() && r.Audio.None() {
		return errors.New("the recipe has neither a vision_config nor an audio_config")
	}
	if !r.Audio.None() {
		if err := r.Audio.Check(); err != nil {
			return err
		}
	}
	if r.Vision.None() {
		return nil
	}
	return r.Vision.Check()
}

// config returns the model's configuration with the given decoder and the ids of the placeholders,
// of which those of absent images or sound are not used.
func (r *Recipe) config(text vlm.TextConfig, imageToken, audioToken int) vlm.Config {
	v, a := r.Vision, r.Audio
	if v.None() {
		imageToken = 0
	} else {
		v.HiddenSize = text.HiddenSize
	}
	if a.None() {
		audioToken = 0
	} else {
		a.HiddenSize = text.HiddenSize
	}
	return vlm.Config{ModelType: vlm.ModelType, Vision: v, Audio: a, Text: text, ImageTokenID: imageToken, AudioTokenID: audioToken, Attention: r.Attention, Turns: r.Turns, FormatVersion: vlm.FormatVersion, Adapter: r.Adapter, ImageExperts: r.ImageExperts}
}

// configOf is config with the placeholders of a processor.
func (r *Recipe) configOf(text vlm.TextConfig, p *vlm.Processor) vlm.Config {
	return r.config(text, int(p.ImageID()), int(p.AudioID()))
}

// plannedConfig is config where there is no tokenizer.
func (r *Recipe) plannedConfig(text vlm.TextConfig) vlm.Config {
	return r.config(text, text.VocabSize-1, text.VocabSize-2)
}

// hear lets a processor have clips of sound if the recipe does.
func (r *Recipe) hear(p *vlm.Processor, err error) (*vlm.Processor, error) {
	if err == nil && !r.Audio.None() {
		err = p.HearAudio()
	}
	return p, err
}

// storage returns the type in which activations and the weights of matmuls are stored.
func (r Recipe) storage() shaders.Type {
	t, _ := shaders.ParseType(r.DType)
	return t
}
