// Command imagepeer measures the decoding, resizing and cropping of images interleaved with
// another program on the same core, and prints a table of images per second:
//
//	imagepeer -- python3 tools/imagepeer/pillow.py
//
// The command after -- is run twice: with "make DIR" it writes the images into a folder;
// with "serve" it reads cases from stdin, one per line: "SIZE FILE", where SIZE 0 only
// decodes. It answers each with a line {"ms": …}, the minimum of one image. Both sides are
// measured in turns, and the minimum of each counts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"patchwork/vlm/image"
)

type options struct {
	turns   int
	sizes   []int
	command []string
}

func main() {
	var o options
	pflag.IntVar(&o.turns, "turns", 6, "measurements of each case")
	pflag.IntSliceVar(&o.sizes, "sizes", []int{256, 512}, "sizes to resize and crop to; 0 = decode only")
	pflag.Parse()
	o.command = pflag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "imagepeer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, o options) error {
	if len(o.command) == 0 || o.turns < 1 {
		return errors.New("want --turns above 0, and a command after --: python3 tools/imagepeer/pillow.py")
	}
	runtime.GOMAXPROCS(1) // collecting garbage counts
	folder, err := os.MkdirTemp("", "imagepeer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if out, err := exec.CommandContext(ctx, o.command[0], append(o.command[1:], "make", folder)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s make: %w\n%s", o.command[0], err, out)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s make wrote no images", o.command[0])
	}
	peer, err := start(ctx, o.command)
	if err != nil {
		return err
	}
	defer peer.close()
	fmt.Fprintf(w, "| image | KiB | to | ours, images/s | peer, images/s | ratio |\n|---|---|---|---|---|---|\n")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, size := range o.sizes {
			ours, theirs, err := o.measure(peer, name, data, size)
			if err != nil {
				return fmt.Errorf("%s to %d: %w", filepath.Base(name), size, err)
			}
			fmt.Fprintf(w, "| %s | %d | %d | %.0f | %.0f | %.2f |\n", filepath.Base(name), len(data)>>10, size, 1/ours, 1/theirs, theirs/ours)
		}
	}
	return nil
}

// measure alternates between both and returns the minimum seconds of each.
func (o options) measure(p *peer, name string, data []byte, size int) (ours, theirs float64, err error) {
	ours, theirs = math.Inf(1), math.Inf(1)
	for range o.turns {
		seconds, err := p.ask(name, size)
		if err != nil {
			return 0, 0, err
		}
		theirs = min(theirs, seconds)
		if seconds, err = fastest(data, size); err != nil {
			return 0, 0, err
		}
		ours = min(ours, seconds)
	}
	return ours, theirs, nil
}

// fastest returns the minimum seconds of an image, over a quarter of a second.
func fastest(data []byte, size int) (float64, error) {
	least := time.Duration(math.MaxInt64)
	begin := time.Now()
	for n := 0; n < 3 || time.Since(begin) < 250*time.Millisecond; n++ {
		start := time.Now()
		var err error
		if size == 0 {
			_, err = image.Decode(data)
		} else {
			_, _, _, err = image.Prepare(data, size)
		}
		if err != nil {
			return 0, err
		}
		least = min(least, time.Since(start))
	}
	return least.Seconds(), nil
}

// A peer is the other program.
type peer struct {
	command *exec.Cmd
	cases   io.WriteCloser
	answers *bufio.Scanner
}

func start(ctx context.Context, command []string) (*peer, error) {
	p := &peer{command: exec.CommandContext(ctx, command[0], append(command[1:], "serve")...)}
	p.command.Stderr = os.Stderr
	var err error
	if p.cases, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = bufio.NewScanner(out)
	return p, p.command.Start()
}

// ask returns the peer's seconds for an image.
func (p *peer) ask(name string, size int) (float64, error) {
	if _, err := fmt.Fprintln(p.cases, size, name); err != nil {
		return 0, fmt.Errorf("the peer: %w", err)
	}
	if !p.answers.Scan() {
		return 0, errors.Join(errors.New("the peer ended without an answer"), p.answers.Err())
	}
	var answer struct {
		MS    float64 `json:"ms"`
		Error string  `json:"error"`
	}
	err := json.Unmarshal(p.answers.Bytes(), &answer)
	switch {
	case err == nil && answer.Error != "":
		return 0, fmt.Errorf("the peer: %s", answer.Error)
	case err != nil || answer.MS <= 0:
		return 0, fmt.Errorf("the peer wrote %q, want {\"ms\": …}", p.answers.Bytes())
	}
	return answer.MS / 1e3, nil
}

// close closes the peer's input, at whose end it exits.
func (p *peer) close() {
	p.cases.Close()
	p.command.Wait() // its exit code no longer matters
}
