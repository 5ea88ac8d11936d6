// Command architectures trains the systems that docs/architectures.md compares, from one recipe and at
// equal FLOPs, and writes the page and its figure:
//
//	architectures --data NAME[@STEPS]=TRAIN:TEST… [--decoder FILE]
//
// Finished runs are kept and not repeated. make architectures runs it.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "architectures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var s study
	var data []string
	var page, figure string
	var steps int
	f := pflag.NewFlagSet("architectures", pflag.ContinueOnError)
	f.StringVar(&s.vlmtool, "vlmtool", "bin/vlmtool", "run vlmtool at `PATH`")
	f.StringVar(&s.out, "out", "out/architectures", "keep the runs in `DIR`")
	f.StringArrayVar(&data, "data", nil, "train on some files and test on others, as `NAME[@STEPS]=TRAIN:TEST`; can be repeated")
	f.IntVar(&steps, "steps", 4000, "steps of this project's own embedder, where --data does not say; the others take as many as cost the same")
	f.IntVar(&s.seeds, "seeds", 3, "seeds of each system")
	f.StringVar(&s.decoder, "decoder", "", "compare what SmolLM2-135M at `PATH` forgets")
	f.IntVar(&s.decoderSteps, "decoder-steps", 200, "steps of each run with --decoder")
	f.StringVar(&s.text, "text", "docs/how-it-works.md", "measure the language on the text in `FILE`")
	f.StringVar(&s.note, "note", "", "write `TEXT` under the tables: on the machine, and on what they show")
	f.StringVar(&page, "page", "docs/architectures.md", "write the page to `FILE`")
	f.StringVar(&figure, "figure", "docs/architectures.png", "write the loss curves to `FILE`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if steps < 1 || s.seeds < 1 || s.decoderSteps < 1 {
		return fmt.Errorf("--steps, --seeds and --decoder-steps must be 1 or more")
	}
	if len(data) == 0 {
		return fmt.Errorf("--data is missing: NAME=TRAIN:TEST, such as 'shapes=demo/data/train-*.parquet:demo/data/test-*.parquet'")
	}
	for _, text := range data {
		d, err := parseDataset(text, steps)
		if err != nil {
			return err
		}
		s.data = append(s.data, d)
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	return cmp.Or(s.draw(figure), s.writePage(page, figure))
}

// parseDataset reads NAME[@STEPS]=TRAIN:TEST.
func parseDataset(text string, steps int) (d dataset, err error) {
	name, files, _ := strings.Cut(text, "=")
	name, given, has := strings.Cut(name, "@")
	d = dataset{name: name, steps: steps}
	if has {
		d.steps, err = strconv.Atoi(given)
	}
	d.train, d.test, _ = strings.Cut(files, ":")
	if err != nil || d.name == "" || d.train == "" || d.test == "" || d.steps < 1 {
		return d, fmt.Errorf("--data is %q, want NAME=TRAIN:TEST or NAME@STEPS=TRAIN:TEST", text)
	}
	return d, nil
}
