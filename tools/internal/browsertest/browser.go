// Package browsertest opens pages in a headless Chromium.
package browsertest

import (
	"context"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"patchwork/internal/require"
)

// WebGPU are flags for a browser with WebGPU in software.
var WebGPU = []chromedp.ExecAllocatorOption{chromedp.Flag("enable-unsafe-webgpu", true), chromedp.Flag("use-webgpu-adapter", "swiftshader")}

// Start starts a browser for three minutes, whose window has some 1280×1600 pixels. The test is skipped
// where there is none, or in short tests, and fails if a script throws, or a file is blocked or missing.
func Start(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on PATH: apt-get install chromium")
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 1600))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(flags, more...)...)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	var mu sync.Mutex
	var problems []string
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		problems = append(problems, problem(event)...)
	}))
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range problems {
			t.Error(s)
		}
	})
	return ctx
}

// problem is a report of the browser: an exception in a script, or a file that was blocked by
// policy or failed to load.
func problem(event any) []string {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		return []string{"exception: " + e.ExceptionDetails.Text}
	case *log.EventEntryAdded:
		return []string{string(e.Entry.Source) + ": " + e.Entry.Text}
	case *network.EventLoadingFailed:
		if !e.Canceled {
			return []string{"loading failed: " + e.ErrorText}
		}
	}
	return nil
}

// Wait returns when a condition of the page, in JavaScript, holds.
func Wait(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool]("Boolean("+condition+")", chromedp.WithPollingTimeout(2*time.Minute))); err != nil {
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
		t.Fatalf("%s: %v\nthe page says: %s", condition, err, text)
	}
}
