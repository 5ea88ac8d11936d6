// Command demoreport reports on the demo's model: it writes index.html, answers.png and
// example.png into the demo's folder, for the audio demo index.html and example.wav, and
// prints a summary.
//
//	go run ./tools/docs/demoreport demo
//
// The folder holds data/ (of shapesdata or wordsdata), model/ (of vlmtool train) and
// eval-none.jsonl, eval-blank.jsonl and eval-shuffled.jsonl, the output of vlmtool eval
// --json --answers --control ….
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"patchwork/internal/durable"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demoreport DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demoreport:", err)
		os.Exit(1)
	}
}

func run(dir string, out io.Writer) error {
	sound, err := hears(dir)
	if err != nil {
		return err
	}
	if sound {
		r, err := loadSound(dir)
		if err != nil {
			return err
		}
		r.print(out)
		return r.write()
	}
	r, err := load(dir)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(dir, "example.png"), r.Example.Image); err != nil {
		return err
	}
	if err := writeSheet(filepath.Join(dir, "answers.png"), r); err != nil {
		return err
	}
	if err := writePage(filepath.Join(dir, "index.html"), r); err != nil {
		return err
	}
	r.print(out)
	return nil
}

// print writes the summary.
func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s of %s questions about %d unseen images are answered correctly,\n", percent(r.All.Model), thousands(r.All.Turns), r.Samples)
	fmt.Fprintf(out, "after %s of training on %s.\n\n", duration(r.Seconds), r.Device)
	fmt.Fprintf(out, "  %-32s %s\n", "most frequent answer, no image", percent(r.All.Baseline))
	fmt.Fprintf(out, "  %-32s %s\n", "the model, white images", percent(r.All.Blank))
	fmt.Fprintf(out, "  %-32s %s\n\n", "the model, other samples' images", percent(r.All.Shuffled))
	for _, f := range r.Families {
		fmt.Fprintf(out, "  %-32s %s  (most frequent answer %s)\n", f.Name, percent(f.Model), percent(f.Baseline))
	}
	fmt.Fprintf(out, "\nOpen %s and %s, then ask the model yourself:\n\n  %s\n\n", filepath.Join(r.Dir, "index.html"), filepath.Join(r.Dir, "answers.png"), r.Command)
}
