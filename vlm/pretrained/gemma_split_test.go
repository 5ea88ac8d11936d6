package pretrained_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/gguftest"
	"patchwork/internal/require"
	"patchwork/vlm/pretrained"
)

// mmproj writes the golden embedders as llama.cpp's converter does: values of patches by channel, the table
// of positions by axis.
func (g *tinyGemma) mmproj(t *testing.T, pairs ...gguftest.Pair) string {
	t.Helper()
	var tensors []gguftest.Tensor
	for from, to := range map[string]string{
		"model.vision_embedder.patch_ln1.": "v.patch_norm.1.", "model.vision_embedder.patch_dense.": "v.patch_embd.", "model.vision_embedder.patch_ln2.": "v.patch_norm.2.",
		"model.vision_embedder.pos_norm.": "v.patch_norm.3.", "model.embed_vision.embedding_projection.": "mm.input_projection.", "model.embed_audio.embedding_projection.": "mm.a.input_projection.",
	} {
		for _, kind := range []string{"weight", "bias"} {
			values, ok := g.decoder.Weights[from+kind]
			if !ok {
				continue
			}
			shape := g.decoder.Shapes[from+kind]
			if to == "v.patch_norm.1." || to == "v.patch_embd." && kind == "weight" {
				values = byChannel(values, shape[len(shape)-1])
			}
			tensors = append(tensors, gguftest.Floats(to+kind, shape, values))
		}
	}
	const table = "model.vision_embedder.pos_embedding"
	shape := g.decoder.Shapes[table]
	positions := append(axisOf(g.decoder.Weights[table], false, shape[2]), axisOf(g.decoder.Weights[table], true, shape[2])...)
	tensors = append(tensors, gguftest.Floats("v.position_embd.weight", []int{2, shape[0], shape[2]}, positions))
	if pairs == nil {
		pairs = gguftest.Pairs("general.architecture", "clip", "clip.has_vision_encoder", true, "clip.has_audio_encoder", true,
			"clip.vision.projector_type", "gemma4uv", "clip.audio.projector_type", "gemma4ua", "clip.vision.attention.layer_norm_epsilon", float32(1e-6))
	}
	path := filepath.Join(t.TempDir(), "mmproj.gguf")
	require.NoError(t, os.WriteFile(path, gguftest.File(3, pairs, tensors), 0o644))
	return path
}

// byChannel reorders patches of size values from (row, column, channel) to (channel, row, column).
func byChannel(values []float32, size int) (out []float32) {
	for ; len(values) > 0; values = values[size:] {
		for channel := range 3 {
			for pixel := range size / 3 {
				out = append(out, values[3*pixel+channel])
			}
		}
	}
	return out
}

// TestGoldenGemmaSplit: llama.cpp's two files have the golden parameters and configuration, and become one
// file and a folder.
func TestGoldenGemmaSplit(t *testing.T) {
	g := newTinyGemma(t, "tiny_gemma4", "config.json")
	folder, text, mmproj := g.decoder.Folder(t), filepath.Join(t.TempDir(), "text.gguf"), g.mmproj(t)
	export := func(o pretrained.ExportOptions) {
		t.Helper()
		require.Value(pretrained.Export(context.Background(), o))(t)
	}
	export(pretrained.ExportOptions{Model: folder, Out: text, Quantize: "f32", DecoderOnly: true})
	if decoder := require.Value(pretrained.IsDecoder(text))(t); !decoder {
		t.Error("--decoder-only wrote the embedders")
	}
	l, err := pretrained.LoadWith(text, cpu.Open(0), pretrained.LoadOptions{MMProj: mmproj})
	require.NoError(t, err)
	defer l.Close()
	g.compare(t, "two files", l)
	want := require.Value(pretrained.ReadConfig(folder))(t)
	if c := l.Config; c.Vision != want.Vision || c.Audio != want.Audio || c.ImageTokenID != want.ImageTokenID || c.AudioTokenID != want.AudioTokenID || c.Attention != want.Attention {
		t.Errorf("the configuration is %+v, want %+v", c, want)
	}
	one, again := filepath.Join(t.TempDir(), "one.gguf"), filepath.Join(t.TempDir(), "again")
	export(pretrained.ExportOptions{Model: text, MMProj: mmproj, Out: one, Quantize: "f32"})
	g.checkWhole(t, "one file", one)
	export(pretrained.ExportOptions{Model: one, Out: again, DType: "f32"})
	g.checkWhole(t, "a folder again", again)
	g.checkFiles(t, again)
}

// TestGemmaSplitMistakes: files that are no mmproj of Gemma 4, or belong to another model.
func TestGemmaSplitMistakes(t *testing.T) {
	g := newTinyGemma(t, "tiny_gemma4", "config.json")
	folder, text := g.decoder.Folder(t), filepath.Join(t.TempDir(), "text.gguf")
	require.Value(pretrained.Export(context.Background(), pretrained.ExportOptions{Model: folder, Out: text, Quantize: "f32", DecoderOnly: true}))(t)
	whole := filepath.Join(t.TempDir(), "whole.gguf")
	require.Value(pretrained.Export(context.Background(), pretrained.ExportOptions{Model: folder, Out: whole, Quantize: "f32"}))(t)
	clip := func(keys ...any) []gguftest.Pair {
		return gguftest.Pairs(append([]any{"general.architecture", "clip"}, keys...)...)
	}
	for _, c := range []struct{ model, mmproj, want string }{
		{text, text, "it is no mmproj"},
		{text, g.mmproj(t, clip("clip.projector_type", "qwen2vl_merger")...), `"qwen2vl_merger"; only gemma4uv and gemma4ua`},
		{text, g.mmproj(t, clip("clip.vision.projector_type", "gemma4v")...), `"gemma4v"; only gemma4uv and gemma4ua`},
		{text, g.mmproj(t, clip()...), "are missing"},
		{whole, g.mmproj(t), "leave --mmproj out"},
		{text, filepath.Join(t.TempDir(), "none.gguf"), "no such file"},
		{folder, g.mmproj(t), "GGUF"},
	} {
		_, err := pretrained.LoadWith(c.model, cpu.Open(0), pretrained.LoadOptions{MMProj: c.mmproj})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}
