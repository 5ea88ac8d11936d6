package main

import (
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"patchwork/engine/cpu"
	"patchwork/tools/tensorboard"
	"patchwork/tools/watch"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// BenchmarkWatching trains the shapes preset, watched and unwatched in turns of some
// seconds: the terminal's line without a terminal, TensorBoard, and a page that is
// asked once a second as a browser does, with /metrics each time. It tells what
// steps take longer for it, from one to the next, and how soon the page answers:
//
//	go test ./tools/vlmtool -run '^$' -bench Watching -benchtime 1x
func BenchmarkWatching(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "train.parquet")
	set, err := data.Open([]string{filepath.Join(quirks, "train-00000-of-00001.parquet")})
	must(b, err)
	row, err := set.Row(2)
	must(b, err)
	w, err := data.Create(file)
	must(b, err)
	for range 600 {
		must(b, w.Write(data.Row{Images: row.Images, Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}, {User: "how many shapes are there?", Assistant: "one"}}}))
	}
	must(b, w.Close())
	recipe, err := train.Preset("shapes")
	must(b, err)
	recipe.Steps, recipe.ValEvery, recipe.SaveEvery = 800, 0, 0

	run := watch.New(watch.Options{Name: "bench", PeakFlops: 1e12})
	server, err := watch.Listen("127.0.0.1:0", run)
	must(b, err)
	defer server.Close()
	events, err := tensorboard.Create(filepath.Join(dir, "events"))
	must(b, err)
	a := &app{stderr: io.Discard}
	dev := cpu.Open(0)
	defer dev.Close()
	watched := train.Observers(run.Observer(), newTrainView(a, run, dev.Info()).observer(), events.Observer(func(err error) { b.Error(err) }))

	look, done := make(chan bool), make(chan bool)
	var waits []float64 // milliseconds
	go func() {
		defer close(done)
		for range look {
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
	const turn = 40       // steps, somewhat more than a second of them
	var took [2][]float64 // by whether it was watched: seconds of a step, a turn each
	var now []float64     // of the turn under way
	var last time.Time
	var inside time.Duration
	_, err = train.Run(b.Context(), train.Options{Recipe: recipe, Data: []string{file}, Out: filepath.Join(dir, "run"), Device: dev, Observe: train.Observer{
		Start: watched.Start,
		Step: func(m train.StepMetrics) {
			on := m.Step / turn % 2
			if on == 1 {
				if m.Step%turn == 0 {
					look <- true
				}
				start := time.Now()
				watched.Step(m)
				inside += time.Since(start)
			}
			now = append(now, time.Since(last).Seconds())
			last = time.Now()
			if m.Step%turn == turn-1 {
				if m.Step > 2*turn { // behind the compiling
					took[on] = append(took[on], middle(now))
				}
				now = nil
			}
		},
	}})
	must(b, err)
	close(look)
	<-done
	must(b, events.Close())
	slices.Sort(waits)
	var ratios []float64 // of neighbours
	for i := range min(len(took[0]), len(took[1])) {
		ratios = append(ratios, took[1][i]/took[0][i])
	}
	b.ReportMetric(1e3*middle(took[0]), "unwatched-ms/step")
	b.ReportMetric(100*(middle(ratios)-1), "cost-%")
	b.ReportMetric(float64(inside.Microseconds())/float64(recipe.Steps/2), "observers-µs/step")
	b.ReportMetric(waits[len(waits)/2], "answer-ms")
	b.ReportMetric(waits[len(waits)*99/100], "answer-p99-ms")
}

// middle is the mean of the middle half, which others' work on the machine spoils
// least.
func middle(values []float64) (mean float64) {
	slices.Sort(values)
	half := values[len(values)/4 : 3*len(values)/4]
	for _, v := range half {
		mean += v / float64(len(half))
	}
	return mean
}
