// Command chatshot takes a screenshot of the chat page of "vlmtool serve", docs/chat.png: it asks a model
// about a picture, in light and in dark colors. It needs a Chromium on PATH.
//
//	go run ./tools/docs/chatshot --model demo/model --image demo/example.png --out docs/chat.png
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

const width, height = 640, 600

func main() {
	vlmtool := pflag.String("vlmtool", "bin/vlmtool", "path of vlmtool")
	model := pflag.String("model", "demo/model", "model to ask")
	picture := pflag.String("image", "demo/example.png", "picture to ask about")
	questions := pflag.StringSlice("question", []string{"what color is the triangle?", "how many shapes are there?"}, "questions to ask")
	out := pflag.String("out", "docs/chat.png", "PNG to write")
	pflag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	if err := run(ctx, *vlmtool, *model, *picture, *questions, *out); err != nil {
		fmt.Fprintln(os.Stderr, "chatshot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, vlmtool, model, picture string, questions []string, out string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	server := exec.CommandContext(ctx, vlmtool, "serve", "--model", model, "--device", "cpu", "--listen", address)
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
	if picture, err = filepath.Abs(picture); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(width, height))
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()
	sheet := image.NewRGBA(image.Rect(0, 0, 4*width, 2*height))
	for i, scheme := range []string{"light", "dark"} {
		shot, err := conversation(ctx, "http://"+address, scheme, picture, questions)
		if err != nil {
			return err
		}
		draw.Draw(sheet, shot.Bounds().Add(image.Pt(2*width*i, 0)), shot, shot.Bounds().Min, draw.Src)
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(file, sheet), file.Close())
}

// conversation asks all questions and returns a picture of the page at two pixels a point.
func conversation(ctx context.Context, url, scheme, picture string, questions []string) (image.Image, error) {
	colors := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, colors); err != nil {
		return nil, err
	}
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(width, height, chromedp.EmulateScale(2)), chromedp.Navigate(url), chromedp.SetUploadFiles("#file", []string{picture}), chromedp.WaitVisible("#attached img"))
	for i, question := range questions {
		if err == nil {
			err = chromedp.Do(ctx, chromedp.SendKeys("#text", question), chromedp.Click("#send"))
		}
		if err == nil {
			_, err = chromedp.Run(ctx, chromedp.Poll[bool](fmt.Sprintf("document.querySelectorAll('.turn').length === %d && !document.querySelector('.waiting')", 2*i+2)))
		}
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
