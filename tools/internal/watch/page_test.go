package watch

import (
	"context"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"patchwork/internal/require"
	pixels "patchwork/vlm/image"
	"patchwork/vlm/train"
)

// browser starts a headless Chromium.
func browser(t *testing.T) context.Context {
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
	ctx, stop := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	return ctx
}

// snapshot is the state of the page.
type snapshot struct {
	Title, Steps, Question, Answer, Reason, Event string
	Lines, Bands, Held, Scripts, Images           int
	Width                                         float64 // of the loss's running mean, in pixels
}

const snapshotScript = `(() => {
	const all = (q) => [...document.querySelectorAll(q)], text = (q) => document.querySelector(q)?.textContent ?? '';
	return {
		title: document.title, steps: text('#steps'), question: text('.question'), answer: text('.answer.wrong'), reason: text('#reasons'), event: text('#events'),
		lines: all('.chart .line').length, bands: all('.chart .band').length, held: all('#chart-loss circle').length,
		scripts: all('script:not([src]), .samples img[onerror], .samples script').length,
		images: all('.samples img').filter((i) => i.complete && i.naturalWidth === 8).length,
		width: document.querySelector('#chart-loss .line:not(.held)')?.getBBox().width ?? 0,
	};
})()`

// wait returns when a condition of the page holds.
func wait(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool]("Boolean("+condition+")"))
	require.NoError(t, err)
}

// TestPage opens the page in a browser: it draws curves and samples, treats hostile text
// as text, and follows the run.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	ctx := browser(t)
	r, o := begin(100)
	server, err := Listen("127.0.0.1:0", r)
	require.NoError(t, err)
	defer server.Close()
	var mu sync.Mutex
	var problems []string
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		problems = append(problems, problem(event)...)
	}))
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(server.URL), chromedp.WaitVisible("#chart-loss .held")))
	wait(t, ctx, `document.querySelectorAll('.samples img').length === 2 && [...document.querySelectorAll('.samples img')].every((i) => i.complete)`)
	page, err := chromedp.Run(ctx, chromedp.Evaluate[snapshot](snapshotScript))
	require.NoError(t, err)
	if page.Lines != 6 || page.Bands != 3 || page.Held != 1 || page.Width < 500 {
		t.Errorf("%d lines, %d bands, %d validations, the loss is %g pixels wide; want 6, 3, 1 and more than 500", page.Lines, page.Bands, page.Held, page.Width)
	}
	if page.Images != 2 || page.Question != "what color? "+hostile || page.Answer != hostile {
		t.Errorf("%d images, question %q, answer %q", page.Images, page.Question, page.Answer)
	}
	if page.Scripts != 0 || page.Title != "50% · runs/shapes" {
		t.Errorf("hostile text was interpreted: %d elements, title %q", page.Scripts, page.Title)
	}
	if page.Steps != "step 100 of 200" || page.Reason == "" || page.Event == "" {
		t.Errorf("%+v", page)
	}
	for i := 101; i <= 200; i++ {
		o.Step(step(i))
	}
	o.Validation(train.ValMetrics{Step: 200, ValLoss: 0.3, Samples: []train.Sample{{Question: "and now?", Truth: "blue", Answer: "blue", Images: []*pixels.RGB{{W: 8, H: 8, Pix: red()}}}}})
	r.End(Finished)
	wait(t, ctx, `document.querySelector('#chart-loss circle:nth-of-type(2)') && document.querySelector('.question').textContent === 'and now?'`)
	wait(t, ctx, `document.querySelector('#state').dataset.phase === 'finished'`)
	page, err = chromedp.Run(ctx, chromedp.Evaluate[snapshot](snapshotScript))
	require.NoError(t, err)
	if page.Steps != "step 200 of 200" || page.Held != 2 {
		t.Errorf("at the end of the run: %+v", page)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, s := range problems {
		t.Error(s)
	}
}
