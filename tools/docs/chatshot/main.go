// Command chatshot takes a screenshot of the chat page of "vlmtool serve", docs/chat.png: it asks a model
// about a picture, in light and in dark colors, and in the dark where it looked. Of a site of "vlmtool
// export --web", docs/web.png, the light page is the one that a visitor finds. It needs a Chromium on PATH.
//
//	go run ./tools/docs/chatshot --model demo/model --image demo/example.png --out docs/chat.png
//	go run ./tools/docs/chatshot --site demo/web --image demo/example.png --out docs/web.png
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/spf13/pflag"
)

// shot is what is asked, and how large the page is.
type shot struct {
	vlmtool, model, site, picture string
	questions                     []string
	word                          string
	width, height                 int
}

func main() {
	var s shot
	pflag.StringVar(&s.vlmtool, "vlmtool", "bin/vlmtool", "path of vlmtool")
	pflag.StringVar(&s.model, "model", "demo/model", "model to ask")
	pflag.StringVar(&s.site, "site", "", "site to open instead of serving the model")
	pflag.StringVar(&s.picture, "image", "demo/example.png", "picture to ask about")
	pflag.StringSliceVar(&s.questions, "question", []string{"what shape is green?", "what color is the triangle?"}, "questions to ask")
	pflag.StringVar(&s.word, "word", "square", "word of an answer to choose in the dark page, to see where the model looked; empty: none")
	pflag.IntVar(&s.width, "width", 640, "width of the page in points")
	pflag.IntVar(&s.height, "height", 640, "height of the page in points")
	out := pflag.String("out", "docs/chat.png", "PNG to write")
	pflag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	if err := s.run(ctx, *out); err != nil {
		fmt.Fprintln(os.Stderr, "chatshot:", err)
		os.Exit(1)
	}
}

func (s shot) run(ctx context.Context, out string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	args := []string{"serve", "--model", s.model, "--device", "cpu", "--listen", address}
	if s.site != "" {
		args = []string{"web", s.site, "--listen", address}
	}
	server := exec.CommandContext(ctx, s.vlmtool, args...)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	defer server.Process.Kill()
	if err := wait(ctx, address, ended); err != nil {
		return err
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		return err
	}
	if s.picture, err = filepath.Abs(s.picture); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(s.width, s.height))
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()
	sheet := image.NewRGBA(image.Rect(0, 0, 4*s.width, 2*s.height))
	for i, scheme := range []string{"light", "dark"} {
		page, err := s.conversation(ctx, "http://"+address, scheme)
		if err != nil {
			return err
		}
		draw.Draw(sheet, page.Bounds().Add(image.Pt(2*s.width*i, 0)), page, page.Bounds().Min, draw.Src)
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(file, sheet), file.Close())
}

// conversation asks all questions and returns a picture of the page at two pixels a point.
func (s shot) conversation(ctx context.Context, url, scheme string) (image.Image, error) {
	colors := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, colors); err != nil {
		return nil, err
	}
	err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(s.width), int64(s.height), chromedp.EmulateScale(2)), chromedp.Navigate(url))
	if err == nil { // until the page knows that the model takes pictures
		_, err = chromedp.Run(ctx, chromedp.Poll[bool]("document.querySelector('#file').accept !== ''"))
	}
	questions := s.questions
	if s.site != "" && scheme == "light" {
		questions = nil
		if err == nil {
			err = chromedp.Do(ctx, chromedp.WaitVisible(".examples img"))
		}
	} else if err == nil {
		err = chromedp.Do(ctx, chromedp.SetUploadFiles("#file", []string{s.picture}), chromedp.WaitVisible("#attached img"))
	}
	for i, question := range questions {
		if err == nil {
			err = chromedp.Do(ctx, chromedp.SendKeys("#text", question), chromedp.Click("#send"))
		}
		if err == nil {
			_, err = chromedp.Run(ctx, chromedp.Poll[bool](fmt.Sprintf("document.querySelectorAll('.turn').length === %d && !document.querySelector('.waiting')", 2*i+2)))
		}
	}
	if err == nil && s.word != "" && scheme == "dark" {
		err = s.choose(ctx)
	}
	if err != nil {
		return nil, err
	}
	data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return nil, err
	}
	return png.Decode(bytes.NewReader(data))
}

// choose chooses the word, and waits for its map.
func (s shot) choose(ctx context.Context) error {
	click := fmt.Sprintf("[...document.querySelectorAll('.word')].some(word => word.textContent === %q && (word.click(), true))", s.word)
	found, err := chromedp.Run(ctx, chromedp.Evaluate[bool](click))
	if err == nil && !found {
		err = fmt.Errorf("no answer has the word %q", s.word)
	}
	if err != nil {
		return err
	}
	return chromedp.Do(ctx, chromedp.WaitVisible(".map"))
}

// freeAddress returns an address at which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// wait returns when a server accepts connections.
func wait(ctx context.Context, address string, ended <-chan error) error {
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case err := <-ended:
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return err
		}
	}
}
