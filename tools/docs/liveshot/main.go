// Command liveshot takes a screenshot of a training run, docs/live.png: it trains the
// shapes preset in a pseudo-terminal and draws the terminal above the run's web page. It
// needs Linux and a Chromium on PATH.
//
//	go run ./tools/docs/liveshot --data 'demo/data/train-*.parquet' --out docs/live.png
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	_ "embed"

	"github.com/chromedp/chromedp"
	"github.com/creack/pty"
	"github.com/spf13/pflag"
)

//go:embed frame.html
var frameText string

var frame = template.Must(template.New("frame").Parse(frameText))

func main() {
	vlmtool := pflag.String("vlmtool", "bin/vlmtool", "path of vlmtool")
	data := pflag.String("data", "", "training data")
	out := pflag.String("out", "docs/live.png", "PNG to write")
	steps := pflag.Int("steps", 1500, "steps of the run; the screenshot is taken at 62 % of them")
	pflag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	if err := run(ctx, *vlmtool, *data, *out, *steps); err != nil {
		fmt.Fprintln(os.Stderr, "liveshot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, vlmtool, data, out string, steps int) error {
	dir, err := os.MkdirTemp("", "liveshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := exec.LookPath("chromium")
	if err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()

	if vlmtool, err = filepath.Abs(vlmtool); err != nil {
		return err
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	train := exec.CommandContext(ctx, vlmtool, "train", "--preset", "shapes", "--device", "cpu", "--steps", fmt.Sprint(steps), "--val-every", fmt.Sprint(steps/10),
		"--save-every", fmt.Sprint(steps/4), "--data", data, "--out", "run", "--listen", ":0")
	train.Dir = dir
	terminal, err := pty.StartWithSize(train, &pty.Winsize{Rows: 30, Cols: 116})
	if err != nil {
		return err
	}
	output := &terminalText{address: make(chan string, 1), ended: make(chan struct{})}
	go output.read(terminal)
	defer func() {
		train.Process.Kill()
		train.Wait() // was killed
		<-output.ended
	}()
	var url string
	select {
	case url = <-output.address:
	case <-output.ended:
		return errors.New("vlmtool ended: " + output.String())
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1240, 900), chromedp.Navigate(url)); err != nil {
		return err
	}
	// Shortly after a validation.
	if err := reach(ctx, steps*62/100, output); err != nil {
		return err
	}
	terminalNow := output.String()
	page, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "page.png"), page, 0o644); err != nil {
		return err
	}
	return shoot(ctx, filepath.Join(dir, "frame.html"), out, terminalNow)
}

// reach returns when the page shows at least the step.
func reach(ctx context.Context, step int, output *terminalText) error {
	const shown = `parseInt(document.querySelector('#steps').textContent.replace(/[^\d]*([\d,]*).*/, '$1').replace(',', '')) || 0`
	for {
		at, err := chromedp.Run(ctx, chromedp.Evaluate[int](shown))
		if err != nil || at >= step {
			return err
		}
		select {
		case <-output.ended:
			return errors.New("vlmtool ended early: " + output.String())
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// shoot renders the terminal above the page.
func shoot(ctx context.Context, file, out, sent string) error {
	var text bytes.Buffer
	if err := frame.Execute(&text, template.HTML(screen(sent, 9))); err != nil {
		return err
	}
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1240, 400), chromedp.Navigate("file://"+file)); err != nil {
		return err
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return err
	}
	return os.WriteFile(out, png, 0o644)
}

// terminalText collects the output to a terminal.
type terminalText struct {
	mu      sync.Mutex
	text    bytes.Buffer
	address chan string   // of the page, sent once
	ended   chan struct{} // closed at the end of the output
}

var addressLine = regexp.MustCompile(`watch the run at (http://\S+)\s`)

func (t *terminalText) read(terminal io.Reader) {
	defer close(t.ended)
	known := false
	chunk := make([]byte, 4096)
	for {
		n, err := terminal.Read(chunk)
		t.mu.Lock()
		t.text.Write(chunk[:n])
		if !known {
			if m := addressLine.FindSubmatch(t.text.Bytes()); m != nil {
				known = true
				t.address <- string(m[1])
			}
		}
		t.mu.Unlock()
		if err != nil { // the other side is closed
			return
		}
	}
}

func (t *terminalText) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
