package train

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/eval"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestLoadAs: a model that runs in 16 bits takes half the memory for its matrices,
// says nearly what it says in 32, and says it to the last bit again.
func TestLoadAs(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 8)
	dir := filepath.Join(t.TempDir(), "model")
	_, err := trainOn(t, cpu.Open(0), r, files, dir, false, Observer{})
	require.NoError(t, err)
	ids := []int32{1, 5, 9, 3, 7, 2, 8, 4, 6, 11, 10}
	score := func(l *vlm.Runner) []float32 {
		nll, logits, err := eval.Score(context.Background(), l, ids)
		require.NoError(t, err)
		return append(nll, logits...)
	}
	whole, err := pretrained.Load(dir, cpu.Open(0))
	require.NoError(t, err)
	want := score(whole)
	for _, dev := range devices.Open(t) {
		for storage, unit := range map[shaders.Type]float64{shaders.BF16: 0x1p-8, shaders.F16: 0x1p-11} {
			t.Run(dev.Info().Device+"/"+storage.String(), func(t *testing.T) {
				l, err := pretrained.LoadAs(dir, dev, storage)
				require.NoError(t, err)
				var factors, rest int64
				for _, p := range l.Params.All() {
					if p.MatmulWeight {
						factors += p.Bytes()
					} else {
						rest += p.Bytes()
					}
				}
				if room := l.Params.Weights.Bytes + l.Params.Half.Bytes; room > rest+factors/2+int64(1024*len(l.Params.All())) {
					t.Errorf("the weights take %d bytes: %d of matrices, %d of others in f32", room, factors, rest)
				}
				got := score(l)
				for i, w := range want {
					// Values of size 10 through some thirty roundings at random.
					if d := math.Abs(float64(got[i] - w)); !(d <= 10*2*math.Sqrt(30)*unit) {
						t.Errorf("number %d is %g, in f32 %g", i, got[i], w)
					}
				}
				for i, again := range score(l) {
					if again != got[i] {
						t.Fatalf("number %d is %g and then %g", i, got[i], again)
					}
				}
				if testAnswerIn(t, dev, dir, storage) == "" {
					t.Error("no answer")
				}
			})
		}
	}
}
