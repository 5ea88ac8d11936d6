package pretrained

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"strings"

	"patchwork/nn/safetensors"
	"patchwork/vlm"
)

// exportGemma writes a Gemma 4 with its embedders as a folder in Hugging Face's layout.
func exportGemma(ctx context.Context, p *Decoder, o ExportOptions) (Description, error) {
	m, proc, err := p.Structure()
	if err != nil {
		return Description{}, err
	}
	config, err := p.gemmaConfig(proc, o.DType)
	if err != nil {
		return Description{}, err
	}
	entries, err := modelEntries(ctx, p, m, o.DType, hubName)
	if err != nil {
		return Description{}, err
	}
	if entries, err = joinPositions(p, m, o.DType, entries); err != nil {
		return Description{}, err
	}
	err = writeExport(o.Out, func(dir string) error {
		return errors.Join(
			WriteJSON(filepath.Join(dir, "config.json"), config),
			WriteJSON(filepath.Join(dir, "generation_config.json"), proc.GenerationConfig()),
			WriteJSON(filepath.Join(dir, processorFiles[0]), gemmaProcessorConfig(m.Config)),
			SaveProcessor(proc, dir),
			writeEntries(filepath.Join(dir, WeightsFile), entries),
		)
	})
	return Description{Config: m.Config, Parameters: m.Params.Count()}, err
}

// hubName is a parameter's name in the hub's files of a Gemma 4.
func hubName(name string) string {
	name, inDecoder := strings.CutPrefix(name, vlm.DecoderPrefix)
	if rest, ok := strings.CutPrefix(name, "model."); ok && inDecoder {
		return "model.language_model." + rest
	}
	if inDecoder {
		return name // the head
	}
	return "model." + name
}

// joinPositions replaces the entries of the two tables of positions, along each axis, with that of one
// table [side, 2, E].
func joinPositions(p *Decoder, m *vlm.Model, dtype string, entries []safetensors.Entry) (out []safetensors.Entry, err error) {
	for _, e := range entries {
		table, axis, ok := positionAxis(e.Name)
		switch {
		case !ok:
			out = append(out, e)
		case axis == 0:
			side, size := m.Config.Vision.MaxGrid, m.Config.Vision.EmbedSize
			joined, err := floatEntry(table, dtype, []int{side, 2, size}, func() ([]float32, error) {
				return p.positions(strings.TrimPrefix(table, "model."), side, size)
			})
			if err != nil {
				return nil, err
			}
			out = append(out, joined)
		}
	}
	return out, nil
}

// positions reads the table of positions [side, 2, size] from those of each axis.
func (p *Decoder) positions(table string, side, size int) ([]float32, error) {
	axes := [2][]float32{}
	for i, name := range []string{".x", ".y"} {
		axes[i] = make([]float32, side*size)
		if err := p.weights.read(table+name, 0, axes[i]); err != nil {
			return nil, err
		}
	}
	return joinAxes(axes[0], axes[1], size), nil
}

// gemmaConfig is config.json of an exported Gemma 4: as its folder has it, but for what an export
// changes, or made from the configuration.
func (p *Decoder) gemmaConfig(proc *vlm.Processor, dtype string) (map[string]any, error) {
	made, err := p.Whole.GemmaFields()
	if err != nil {
		return nil, err
	}
	var read map[string]any
	if json.Unmarshal(p.config, &read) == nil && read["model_type"] == vlm.GemmaModelType {
		out, err := p.wholeConfig(proc, dtype)
		if text, ok := out["text_config"].(map[string]any); ok {
			text["use_bidirectional_attention"] = made["text_config"].(map[string]any)["use_bidirectional_attention"]
		}
		return out, err
	}
	for field, token := range map[string]string{
		"boi_token_id": "<|image>", "eoi_token_id": "<image|>", "boa_token_id": "<|audio>", "eoa_token_index": "<audio|>", "video_token_id": "<|video|>",
	} {
		if id, ok := proc.Tokenizer.ID(token); ok {
			made[field] = id
		}
	}
	made["dtype"] = torchDTypes[dtype]
	if eos := proc.EOSTokenID(); eos != nil {
		made["eos_token_id"] = eos
	}
	return made, nil
}

// gemmaProcessorConfig is processor_config.json.
func gemmaProcessorConfig(c vlm.Config) map[string]any {
	out := map[string]any{"processor_class": "Gemma4UnifiedProcessor"}
	if v := c.Vision; !v.None() {
		fields, _ := c.GemmaFields() // of a model that has been checked
		sizes, _ := fields["vision_config"].(map[string]any)
		image := map[string]any{
			"do_convert_rgb": true, "do_resize": true, "do_rescale": true, "rescale_factor": 1.0 / 255, "do_normalize": false, "resample": 3,
			"patch_size": sizes["patch_size"], "pooling_kernel_size": sizes["pooling_kernel_size"],
		}
		video := maps.Clone(image)
		image["image_processor_type"], image["max_soft_tokens"] = "Gemma4UnifiedImageProcessor", v.MaxPatches
		video["video_processor_type"], video["max_soft_tokens"] = "Gemma4UnifiedVideoProcessor", gemmaFrameTokens
		out["image_processor"], out["video_processor"], out["image_seq_length"] = image, video, v.MaxPatches
	}
	if a := c.Audio; !a.None() {
		out["feature_extractor"] = map[string]any{
			"feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor", "sampling_rate": a.SampleRate, "audio_samples_per_token": a.FrameSize,
			"feature_size": a.FrameSize, "padding_value": 0.0, "padding_side": "right", "return_attention_mask": true,
		}
		out["audio_ms_per_token"] = 1000 * a.FrameSize / a.SampleRate
	}
	return out
}

// gemmaFrameTokens is the number of tokens of a video's frame, at most (transformers,
// video_processing_gemma4_unified.py).
const gemmaFrameTokens = 70
