package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
)

// TestNoFolder: a run without a folder, on a file in memory, has the losses of one that writes files,
// writes none, and shows its model before and after, also when it is interrupted.
func TestNoFolder(t *testing.T) {
	path := vlmtest.Data(t, 40)
	r := testRecipe(t, 4)
	r.ValEvery, r.SaveEvery = 2, 2
	out := filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, []string{path}, out, false, Observer{})
	require.NoError(t, err)
	contents, err := os.ReadFile(path)
	require.NoError(t, err)

	for _, c := range []struct {
		name     string
		stopAt   int // step; 0 = none
		examined []int
		want     error
	}{{"whole", 0, []int{0, 4}, nil}, {"interrupted", 2, []int{0, 2}, context.Canceled}} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var got []float64
			var examined []int
			validations := 0
			_, err := Run(ctx, Options{
				Recipe: r, Data: []data.File{data.InMemory("rows", contents)}, Device: cpu.Open(0),
				Examine: func(ctx context.Context, step int, model *vlm.Runner) error {
					examined = append(examined, step)
					return ctx.Err()
				},
				Observe: Observer{
					Step: func(m StepMetrics) {
						if got = append(got, float64(m.Loss)); m.Step == c.stopAt {
							stop()
						}
					},
					Validation: func(ValMetrics) { validations++ },
				},
			})
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			same(t, "with and without a folder", got, losses(t, out)[:len(got)])
			if !slices.Equal(examined, c.examined) {
				t.Errorf("the model was examined after steps %v, want %v", examined, c.examined)
			}
			if c.stopAt == 0 && validations != 2 {
				t.Errorf("%d validations, want 2", validations)
			}
			if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
				t.Errorf("the run left %v (error %v)", files, err)
			}
		})
	}
}
