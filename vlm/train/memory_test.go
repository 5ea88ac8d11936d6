package train

import (
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/vlm/chat"
	"patchwork/vlm/eval"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// TestNothingIsLeft: training, generation and evaluation give back all memory of the
// device, and no goroutine outlives them.
func TestNothingIsLeft(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 4)
	r.ValEvery, r.SaveEvery = 2, 2
	for _, dev := range devices.Open(t) {
		t.Run(dev.Info().Device, func(t *testing.T) {
			before := runtime.NumGoroutine()
			check := func(what string) {
				t.Helper()
				// A GPU keeps one smallest piece of its own, which absent bindings get.
				if now, _ := dev.MemoryInUse(); now > engine.Alignment {
					t.Errorf("%s left %d bytes", what, now)
				}
			}
			var out string
			for range 2 {
				out = filepath.Join(t.TempDir(), "run")
				_, err := trainOn(t, dev, r, files, out, false, Observer{})
				require.NoError(t, err)
				check("training")
			}
			l, err := pretrained.Load(out, dev)
			require.NoError(t, err)
			g := generate.New(l)
			prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color?"}}}, nil)
			require.NoError(t, err)
			_, err = g.Generate(t.Context(), prompt, nil, generate.Options{MaxNewTokens: 3})
			require.NoError(t, err)
			g.Free()
			_, err = eval.Run(t.Context(), l, eval.Options{Data: files, Limit: 3})
			require.NoError(t, err)
			_, _, err = eval.Score(t.Context(), l, prompt.IDs)
			require.NoError(t, err)
			l.Close()
			check("a loaded model")

			for i := 0; runtime.NumGoroutine() > before && i < 100; i++ { // those that end are given time to
				time.Sleep(10 * time.Millisecond)
			}
			if n := runtime.NumGoroutine(); n > before {
				buf := make([]byte, 1<<16)
				t.Errorf("%d goroutines, %d before:\n%s", n, before, buf[:runtime.Stack(buf, true)])
			}
		})
	}
}

// compilations is a device that counts what it compiles.
type compilations struct {
	engine.Device
	programs []string
}

func (c *compilations) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	c.programs = append(c.programs, p.Program.Name)
	return c.Device.Compile(p, arena)
}

// TestValidationCompilesOnce: the programs of steps and answers stay compiled from one
// validation to the next.
func TestValidationCompilesOnce(t *testing.T) {
	files := []string{vlmtest.Data(t, 40)}
	count := func(steps int) []string {
		r := testRecipe(t, steps)
		r.ValEvery = 2
		dev := &compilations{Device: devices.Open(t)[0]}
		_, err := trainOn(t, dev, r, files, filepath.Join(t.TempDir(), "run"), false, Observer{})
		require.NoError(t, err)
		slices.Sort(dev.programs)
		return dev.programs
	}
	two, six := count(2), count(6)
	if !slices.Equal(two, six) || len(two) < 4 {
		t.Errorf("one validation compiles %v, three %v", two, six)
	}
}
