package train

import (
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm"
)

// TestMuonMatrices: Muon updates the matrices between the embedding and the head that start from
// random numbers, and nothing else.
func TestMuonMatrices(t *testing.T) {
	embedder := []string{"connector.weight", "embedder.fc.weight"}
	decoder := []string{"mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj", "self_attn.v_proj"}
	for i, name := range decoder {
		decoder[i] = "decoder.model.layers.0." + name + ".weight"
	}
	for _, c := range []struct {
		name, optimizer, model, decoder string
		want                            []string
		note                            string
	}{
		{name: "from random numbers", optimizer: OptimizerMuon, want: slices.Concat(embedder[:1], decoder, embedder[1:])},
		{name: "with a pretrained decoder", optimizer: OptimizerMuon, decoder: "D", want: embedder},
		{name: "from a trained model", optimizer: OptimizerMuon, model: "M", note: "no weight starts from random numbers"},
		{name: "AdamW", optimizer: OptimizerAdamW},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRecipe(t, 1)
			r.Optimizer = c.optimizer
			text := *r.Text
			text.NumHiddenLayers, text.TieWordEmbeddings = 1, false
			m, err := vlm.NewModel(r.config(text, 5, 0), r.Init)
			require.NoError(t, err)
			note := ""
			tr := trainer{Options: Options{Recipe: r, Model: c.model, Decoder: c.decoder, Observe: Observer{Note: func(s string) { note = s }}}, model: m}
			tr.useOptimizer()
			var got []string
			for _, p := range m.Params.All() {
				if p.Muon {
					got = append(got, p.Name)
				}
			}
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("Muon updates %v, want %v", got, c.want)
			}
			if (note == "") != (c.note == "") || !strings.Contains(note, c.note) {
				t.Errorf("the note is %q, want %q", note, c.note)
			}
		})
	}
}

// TestOlderRecipe: recipes without the settings of the optimizer, flips and mean colors mean AdamW
// and neither.
func TestOlderRecipe(t *testing.T) {
	r, err := parseRecipe([]byte(`{"preset":"shapes","vision_config":{"image_size":64,"patch_size":8}}`), "old")
	require.NoError(t, err)
	if r.Optimizer != OptimizerAdamW || r.MuonScale != 1 || r.Flip || r.Vision.MeanColors {
		t.Errorf("an old recipe is read as %+v", r)
	}
	r = testRecipe(t, 1)
	r.Optimizer = "sgd"
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), `--optimizer is "sgd", want adamw, adamw8bit or muon`) {
		t.Errorf("got %v", err)
	}
}
