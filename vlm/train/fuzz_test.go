package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
)

// FuzzRunFiles reads arbitrary bytes with each reader of the small files in a run's or model's
// folder.
func FuzzRunFiles(f *testing.F) {
	f.Add([]byte(`{"recipe":{"preset":"shapes","steps":3},"data":{"files":["a"],"rows":1,"fingerprint":""},"device":{}}`))
	f.Add([]byte(`{"step":3,"cursor":{"epoch":0,"batch":3},"tokens":5,"seconds":1.5}`))
	f.Add([]byte("{\"step\":1,\"loss\":2.5,\"lr\":1e-3}\n{\"step\":1,\"val_loss\":null}\n{\"step\":2,\"lo"))
	f.Add([]byte("{\"file\":\"a\",\"row\":3,\"reason\":\"b: c\"}\n{\"file\":\"a\",\"row\":-1}\n{"))
	f.Add([]byte(`{"model_type":"encoder_free_vlm","format_version":1,"vision_config":{"image_size":64,"patch_size":8,"num_channels":3,"hidden_size":96,"max_grid":8},` +
		`"text_config":{"model_type":"llama","hidden_size":96,"num_attention_heads":3,"num_hidden_layers":1,"intermediate_size":8,"vocab_size":9},"image_token_id":8}`))
	f.Add([]byte(`{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00001.safetensors","b":"../x"}}`))
	preset, err := os.ReadFile(filepath.Join("..", "pretrained", "presets", "shapes", "recipe.json"))
	require.NoError(f, err)
	f.Add(preset)
	dir := f.TempDir()
	names := []string{"run.json", "config.json", "recipe.json", "metrics.jsonl", data.BadRowsFile, safetensors.IndexFile}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
		}
		checked := func(what string, err error) {
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: multi-line error: %q", what, err)
			}
		}
		saved, err := readRun(dir)
		checked("run.json", err)
		if err == nil {
			_, err = RecipeDiff(saved.Recipe, Recipe{})
			checked("the recipes' difference", err)
		}
		config, err := vlm.ReadConfig(dir)
		checked("config.json", err)
		if err == nil {
			_, err = vlm.NewModel(config, vlm.Init{})
			checked("a model", err)
		}
		recipe, err := ReadRecipe(filepath.Join(dir, "recipe.json"))
		checked("a recipe", err)
		if err == nil {
			checked("a recipe's settings", recipe.Check())
		}
		checked(checkpoint.StateFile, json.Unmarshal(content, &trainerState{}))
		if m, err := openMetrics(filepath.Join(dir, "metrics.jsonl"), 2); err == nil {
			require.NoError(t, m.close())
		} else {
			checked("metrics.jsonl", err)
		}
		_, err = data.OpenBadRows(filepath.Join(dir, data.BadRowsFile))
		checked(data.BadRowsFile, err)
		if s, err := safetensors.OpenSet(dir); err == nil {
			require.NoError(t, s.Close())
		} else {
			checked(safetensors.IndexFile, err)
		}
	})
}
