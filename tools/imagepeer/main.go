// Command imagepeer measures the decoding, resizing and cropping of images interleaved with
// another program on the same core, and prints a table of images per second:
//
//	imagepeer -- python3 tools/imagepeer/pillow.py
//
// The command after -- is run twice: with "make DIR" it writes the images into a folder;
// with "serve" it reads cases from stdin, one per line: "SIZE FILE", where SIZE 0 only
// decodes. It answers each with a line {"ms": …, "crc32": …}: the minimum of one image, and
// the checksum of its RGB, which must be that of ours. The measurements are interleaved, and
// the minimum of each side counts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
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
	peer    string
	note    string
	sizes   []int
	command []string
}

func main() {
	var o options
	pflag.StringVar(&o.peer, "peer", "peer", "name of the peer")
	pflag.StringVar(&o.note, "note", "", "what the machine is, for the page")
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
	runtime.GOMAXPROCS(1) // garbage collection counts
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
	fmt.Fprintf(w, page, o.note, o.peer)
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
			fmt.Fprintf(w, "| %s | %d | %s | %.0f | %.0f | %.2f |\n", filepath.Base(name), len(data)>>10, target(size), 1/ours, 1/theirs, theirs/ours)
		}
	}
	return nil
}

const page = `<!-- Written by tools/imagepeer: make image-page. -->
# How fast images are decoded

Images per second of one core, from the file's bytes to the pixels that the model is given: decoded, the shorter side resized with the antialiased bilinear filter, the centre cropped. All figures are from one run of ` + "`make image-page`" + ` on one machine. Both sides' measurements alternate, and the fastest of each counts; the pixels of both are compared and equal. Ours includes Go's garbage collection.

- The images are synthetic: noise of all frequencies with shapes and text, as large in bytes as photographs. JPEG has quality 90 and 4:2:0 chroma, unless the name says otherwise, WebP quality 85.
- A machine without AVX2 takes Go's forms of the inner loops, with the same bits.
- Above 1, ours is faster. %s

| image | KiB | to | ours, images/s | %s, images/s | ratio |
|---|---|---|---|---|---|
`

func target(size int) string {
	if size == 0 {
		return "RGB"
	}
	return fmt.Sprintf("%d×%d", size, size)
}

// measure alternates between both and returns the minimum seconds of each.
func (o options) measure(p *peer, name string, data []byte, size int) (ours, theirs float64, err error) {
	pix, err := decode(data, size)
	if err != nil {
		return 0, 0, err
	}
	ours, theirs = math.Inf(1), math.Inf(1)
	for range o.turns {
		a, err := p.ask(name, size)
		if err != nil {
			return 0, 0, err
		}
		if sum := crc32.ChecksumIEEE(pix); a.CRC32 != sum {
			return 0, 0, fmt.Errorf("the peer's pixels differ: their checksum is %08x, ours %08x", a.CRC32, sum)
		}
		theirs = min(theirs, a.MS/1e3)
		seconds, err := fastest(data, size)
		if err != nil {
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
		if _, err := decode(data, size); err != nil {
			return 0, err
		}
		least = min(least, time.Since(start))
	}
	return least.Seconds(), nil
}

// decode returns the RGB of an image, resized and cropped to size if that is not 0.
func decode(data []byte, size int) ([]byte, error) {
	if size == 0 {
		img, err := image.Decode(data)
		if err != nil {
			return nil, err
		}
		return img.Pix, nil
	}
	pix, _, _, err := image.Prepare(data, size)
	return pix, err
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

// answer is a line that the peer writes.
type answer struct {
	MS    float64 `json:"ms"`
	CRC32 uint32  `json:"crc32"`
	Error string  `json:"error"`
}

// ask returns the peer's answer for an image.
func (p *peer) ask(name string, size int) (a answer, err error) {
	if _, err := fmt.Fprintln(p.cases, size, name); err != nil {
		return a, fmt.Errorf("the peer: %w", err)
	}
	if !p.answers.Scan() {
		return a, errors.Join(errors.New("the peer ended without an answer"), p.answers.Err())
	}
	err = json.Unmarshal(p.answers.Bytes(), &a)
	switch {
	case err == nil && a.Error != "":
		return a, fmt.Errorf("the peer: %s", a.Error)
	case err != nil || a.MS <= 0:
		return a, fmt.Errorf("the peer wrote %q, want {\"ms\": …}", p.answers.Bytes())
	}
	return a, nil
}

// close closes the peer's input, at whose end it exits.
func (p *peer) close() {
	p.cases.Close()
	p.command.Wait() // its exit code no longer matters
}
