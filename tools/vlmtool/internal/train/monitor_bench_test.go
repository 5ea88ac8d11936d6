package train

import (
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/tools/internal/tensorboard"
	"patchwork/tools/internal/watch"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// BenchmarkMonitor trains the shapes preset with and without monitoring, interleaved in
// blocks of about a second: the plain progress line, TensorBoard, and a page that is
// requested once a second as by a browser, with /metrics. It reports how much longer
// steps take, and the response times of the page:
//
//	go test ./tools/vlmtool/internal/train -run '^$' -bench Monitor -benchtime 1x
func BenchmarkMonitor(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "train.parquet")
	set, err := data.Open(b.Context(), data.Local("../../../../vlm/data/testdata/quirks/train-00000-of-00001.parquet"))
	require.NoError(b, err)
	row, err := set.Row(2)
	require.NoError(b, err)
	w, err := data.Create(file)
	require.NoError(b, err)
	for range 600 {
		require.NoError(b, w.Write(data.Row{Images: row.Images, Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}, {User: "how many shapes are there?", Assistant: "one"}}}))
	}
	require.NoError(b, w.Close())
	recipe, err := train.Preset("shapes")
	require.NoError(b, err)
	recipe.Steps, recipe.ValEvery, recipe.SaveEvery = 800, 0, 0

	run := watch.New(watch.Options{Name: "bench", PeakFlops: 1e12})
	server, err := watch.Listen("127.0.0.1:0", run)
	require.NoError(b, err)
	defer server.Close()
	events, err := tensorboard.Create(filepath.Join(dir, "events"))
	require.NoError(b, err)
	a := &cli.App{Stderr: io.Discard}
	dev := cpu.Open(0)
	defer dev.Close()
	monitored := train.MultiObserver(run.Observer(), newProgress(a, run, dev.Info()).observer(), events.Observer(func(err error) { b.Error(err) }))

	request, done := make(chan bool), make(chan bool)
	var waits []float64 // milliseconds
	go func() {
		defer close(done)
		for range request {
			for _, path := range []string{"api/run", "api/curves", "metrics", ""} {
				start := time.Now()
				answer, err := http.Get(server.URL + path)
				if err != nil {
					b.Error(err)
					continue
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				waits = append(waits, 1e3*time.Since(start).Seconds())
			}
		}
	}()
	const block = 40      // steps, somewhat more than a second
	var took [2][]float64 // without and with monitoring: seconds per step, by block
	var now []float64     // of the current block
	var last time.Time
	var inside time.Duration
	_, err = train.Run(b.Context(), train.Options{Recipe: recipe, Data: data.Local(file), Out: filepath.Join(dir, "run"), Device: dev, Observe: train.Observer{
		Start: monitored.Start,
		Step: func(m train.StepMetrics) {
			on := m.Step / block % 2
			if on == 1 {
				if m.Step%block == 0 {
					request <- true
				}
				start := time.Now()
				monitored.Step(m)
				inside += time.Since(start)
			}
			now = append(now, time.Since(last).Seconds())
			last = time.Now()
			if m.Step%block == block-1 {
				if m.Step > 2*block { // after compilation
					took[on] = append(took[on], middle(now))
				}
				now = nil
			}
		},
	}})
	require.NoError(b, err)
	close(request)
	<-done
	require.NoError(b, events.Close())
	slices.Sort(waits)
	var ratios []float64 // of neighbouring blocks
	for i := range min(len(took[0]), len(took[1])) {
		ratios = append(ratios, took[1][i]/took[0][i])
	}
	b.ReportMetric(1e3*middle(took[0]), "plain-ms/step")
	b.ReportMetric(100*(middle(ratios)-1), "cost-%")
	b.ReportMetric(float64(inside.Microseconds())/float64(recipe.Steps/2), "observers-µs/step")
	b.ReportMetric(waits[len(waits)/2], "answer-ms")
	b.ReportMetric(waits[len(waits)*99/100], "answer-p99-ms")
}

// middle is the mean of the middle half, which other load on the machine affects least.
func middle(values []float64) (mean float64) {
	slices.Sort(values)
	half := values[len(values)/4 : 3*len(values)/4]
	for _, v := range half {
		mean += v / float64(len(half))
	}
	return mean
}
