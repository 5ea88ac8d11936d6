package train

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
)

// BenchmarkCheckpoint measures what a checkpoint costs a run, in one run with the steps
// that it is compared with: how long the training stands still, beside the steps and in
// the step, and how much longer the steps take while one is being written.
func BenchmarkCheckpoint(b *testing.B) {
	for _, c := range []struct {
		preset        string
		rows, seqLen  int
		between, warm int // steps after each checkpoint, and before the first
	}{
		{"shapes", 0, 0, 12, 3},
		{"smollm2-135m", 1, 320, 4, 1},
	} {
		b.Run(c.preset, func(b *testing.B) {
			r, err := Preset("shapes")
			require.NoError(b, err)
			decoder, err := Preset(c.preset)
			require.NoError(b, err)
			r = r.around(*decoder.Text) // drawn at random, with the shapes' tokenizer
			if c.rows > 0 {
				r.BatchSize, r.SeqLen = c.rows, c.seqLen
			}
			t := &trainer{Options: Options{Recipe: r, Data: []string{vlmtest.Data(b, 200)}, Out: filepath.Join(b.TempDir(), "run"), Device: cpu.Open(0), Keep: 1}, stats: data.NewRowStats(nil)}
			t.lock, err = lockRun(t.Out)
			require.NoError(b, err)
			defer t.lock.release()
			require.NoError(b, t.open(b.Context()))
			defer t.close()
			defer func() { freeHostMemory = engine.FreeHostMemory }()
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			batches := t.train.Batches(ctx, Cursor{})
			step := func() time.Duration {
				start := time.Now()
				require.Value(t.step(ctx, batches))(b)
				return time.Since(start)
			}
			save := func(free int64) time.Duration {
				freeHostMemory = func() int64 { return free }
				t.saver.mode = saveAuto
				start := time.Now()
				require.NoError(b, t.save())
				return time.Since(start)
			}
			for range c.warm {
				step()
			}
			save(1 << 50) // the first one maps the memory of the copy
			require.NoError(b, t.saver.wait().err)
			var alone, disturbed, stall, inStep, writing time.Duration
			steps, slowed := 0, 0
			for b.Loop() {
				for range c.between {
					alone += step()
					steps++
				}
				stall += save(1 << 50)
				start := time.Now()
				for len(t.saver.writing) == 0 {
					disturbed += step()
					slowed++
				}
				writing += time.Since(start)
				require.NoError(b, t.saver.wait().err)
				step()
				inStep += save(1)
			}
			mean := float64(alone) / float64(steps)
			per := func(d time.Duration) float64 { return float64(d) / float64(b.N) }
			b.ReportMetric(mean/1e6, "step-ms")
			b.ReportMetric(per(stall)/1e6, "stall-ms")
			b.ReportMetric(per(stall)/mean, "stall/step")
			b.ReportMetric(per(inStep)/mean, "in-step/step")
			b.ReportMetric(per(writing)/1e6, "writing-ms")
			b.ReportMetric((float64(disturbed)/mean-float64(slowed))/float64(b.N), "slowed/step")
		})
	}
}
