package pretrained_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/gguftest"
	"patchwork/internal/require"
	"patchwork/vlm/pretrained"
)

// TestGoldenGemmaSplit: llama.cpp's two files have the golden parameters and configuration, and become one
// file and a folder.
func TestGoldenGemmaSplit(t *testing.T) {
	g := newTinyGemma(t, "tiny_gemma4", "config.json")
	folder, text, mmproj := g.decoder.Folder(t), filepath.Join(t.TempDir(), "text.gguf"), g.decoder.MMProj(t)
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
	want := require.Value(pretrained.ReadConfig(folder, ""))(t)
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
		{text, g.decoder.MMProj(t, clip("clip.projector_type", "qwen2vl_merger")...), `"qwen2vl_merger"; only gemma4uv and gemma4ua`},
		{text, g.decoder.MMProj(t, clip("clip.vision.projector_type", "gemma4v")...), `"gemma4v"; only gemma4uv and gemma4ua`},
		{text, g.decoder.MMProj(t, clip()...), "are missing"},
		{whole, g.decoder.MMProj(t), "leave --mmproj out"},
		{text, filepath.Join(t.TempDir(), "none.gguf"), "no such file"},
		{folder, g.decoder.MMProj(t), "GGUF"},
	} {
		_, err := pretrained.LoadWith(c.model, cpu.Open(0), pretrained.LoadOptions{MMProj: c.mmproj})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}
