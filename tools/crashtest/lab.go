//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"patchwork/tools/internal/localhub"
	"patchwork/vlm/data"
)

// setting is a configuration of runs.
type setting struct {
	name  string
	flags []string
	hub   bool // disturbed runs read from a hub with faults, the reference run from the disk
}

var settings = []setting{
	{"f32", nil, false},
	{"f16, accumulated, first frozen", []string{"--dtype", "f16", "--accumulate", "2", "--freeze-decoder-steps", "5"}, false},
	{"bf16", []string{"--dtype", "bf16"}, false},
	{"f32 from a hub", nil, true},
}

// lab runs and disturbs training runs.
type lab struct {
	tool, dir, data string
	steps           int
	random          *rand.Rand
	settings        []setting
	took            map[string]time.Duration // by the reference run of a setting
	runs            int
	table           table
	hub             *localhub.Hub
}

// newLab makes the data and a reference run of each setting.
func newLab(tool, dir string, steps, rows int, random *rand.Rand, settings []setting) (*lab, error) {
	l := &lab{tool: tool, dir: dir, data: filepath.Join(dir, "data", "train.parquet"), steps: steps, random: random, settings: settings, took: map[string]time.Duration{}}
	if err := errors.Join(os.MkdirAll(filepath.Dir(l.data), 0o755), writeData(l.data, rows)); err != nil {
		return nil, err
	}
	l.hub = localhub.Start(filepath.Dir(l.data), "hf_secret")
	l.hub.SetFaults(localhub.Faults{Cut: 0.2, Error: 0.1, Page: 0.1, Shifted: 0.1, Limit: 0.1})
	for _, s := range settings {
		start := time.Now()
		if err := l.toTheEnd(s, l.reference(s)); err != nil {
			return nil, err
		}
		l.took[s.name] = time.Since(start)
		l.table.add(s.name, "undisturbed", fmt.Sprintf("%d steps in %.1f s", steps, l.took[s.name].Seconds()))
	}
	return l, nil
}

// reference is the folder of the reference run.
func (l *lab) reference(s setting) string { return filepath.Join(l.dir, "reference", s.name) }

// folder is the folder of a new run.
func (l *lab) folder() string {
	l.runs++
	return filepath.Join(l.dir, fmt.Sprintf("run-%03d", l.runs))
}

// nextSetting returns the settings in rotation.
func (l *lab) nextSetting() setting { return l.settings[l.runs%len(l.settings)] }

func (l *lab) arguments(s setting, out string) []string {
	from := l.data
	if s.hub && out != l.reference(s) {
		l.hub.Commit() // main moves on; a resumed run reads the commit that it began with
		from = "hf://datasets/" + localhub.Repo
	}
	return append([]string{"train", "--data", from, "--out", out, "--device", "cpu", "--steps", strconv.Itoa(l.steps), "--seq-len", "192", "--batch-size", "2",
		"--pool-size", "8", "--warmup", "4", "--save-every", "2", "--val-every", "5", "--keep", "3", "--resume"}, s.flags...)
}

// environment is that of a run: the hub, and caches of its own.
func (l *lab) environment() []string {
	return append(os.Environ(), "HF_ENDPOINT="+l.hub.Endpoint, "HF_TOKEN=hf_secret", "XDG_CACHE_HOME="+filepath.Join(l.dir, "cache"))
}

// close stops the hub.
func (l *lab) close() { l.hub.Close() }

var colors = []struct {
	name string
	rgb  color.RGBA
}{
	{"red", color.RGBA{220, 30, 30, 255}}, {"green", color.RGBA{20, 160, 40, 255}}, {"blue", color.RGBA{30, 60, 220, 255}},
	{"yellow", color.RGBA{235, 210, 30, 255}}, {"black", color.RGBA{20, 20, 20, 255}},
}

// writeData writes rows with images of squares and two questions about each.
func writeData(path string, rows int) error {
	w, err := data.Create(path)
	if err != nil {
		return err
	}
	w.GroupRows = 1000
	for i := range rows {
		c, asked := colors[i%len(colors)], colors[i*i%7%len(colors)]
		img := image.NewRGBA(image.Rect(0, 0, 64, 64))
		draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
		draw.Draw(img, image.Rect(i%17, i%13, i%17+24, i%13+24), image.NewUniform(c.rgb), image.Point{}, draw.Src)
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			return err
		}
		if err := w.Write(data.Row{Images: [][]byte{file.Bytes()}, Source: "crashtest", Turns: []data.Turn{
			{User: "what color is the shape?", Assistant: c.name},
			{User: fmt.Sprintf("is there a %s shape?", asked.name), Assistant: map[bool]string{true: "yes", false: "no"}[c == asked]},
		}}); err != nil {
			return err
		}
	}
	return w.Close()
}

// table lists the disturbances and their outcomes.
type table struct{ rows [][3]string }

func (t *table) add(run, what, outcome string) {
	t.rows = append(t.rows, [3]string{run, what, outcome})
}

func (t *table) print(w io.Writer) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		fmt.Fprintf(columns, "%s\t%s\t%s\n", r[0], r[1], r[2])
	}
	columns.Flush()
}
