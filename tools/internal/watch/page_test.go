package watch

import (
	"testing"

	"github.com/chromedp/chromedp"

	"patchwork/internal/require"
	"patchwork/tools/internal/browsertest"
	pixels "patchwork/vlm/image"
	"patchwork/vlm/train"
)

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

// TestPage opens the page in a browser: it draws curves and samples, treats hostile text
// as text, and follows the run.
func TestPage(t *testing.T) {
	ctx := browsertest.Start(t)
	r, o := begin(100)
	server, err := Listen("127.0.0.1:0", r)
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(server.URL), chromedp.WaitVisible("#chart-loss .held")))
	browsertest.Wait(t, ctx, `document.querySelectorAll('.samples img').length === 2 && [...document.querySelectorAll('.samples img')].every((i) => i.complete)`)
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
	browsertest.Wait(t, ctx, `document.querySelector('#chart-loss circle:nth-of-type(2)') && document.querySelector('.question').textContent === 'and now?'`)
	browsertest.Wait(t, ctx, `document.querySelector('#state').dataset.phase === 'finished'`)
	page, err = chromedp.Run(ctx, chromedp.Evaluate[snapshot](snapshotScript))
	require.NoError(t, err)
	if page.Steps != "step 200 of 200" || page.Held != 2 {
		t.Errorf("at the end of the run: %+v", page)
	}
}
