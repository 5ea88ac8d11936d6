package serve

import (
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"patchwork/internal/require"
	"patchwork/tools/internal/browsertest"
	"patchwork/tools/internal/listen"
	"patchwork/vlm/serve"
)

// hostileAnswer is text that a page must not interpret.
const hostileAnswer = `<script>document.title='stolen'</script><img src=x onerror="document.title='stolen'">`

// openPage opens the chat page of a scheduler in a browser.
func openPage(t *testing.T, script *scripted, keys ...string) (do func(actions ...chromedp.Action[chromedp.Void]), wait func(condition string)) {
	t.Helper()
	ctx := browsertest.Start(t)
	web, err := listen.Start("127.0.0.1:0", options(newServer(model{ID: "tiny", Config: small().Config, Processor: small().Processor}, script, keys), serve.Options{Parallel: 4, Queue: 4}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, web.Close()) })
	do = func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		require.NoError(t, chromedp.Do(ctx, actions...))
	}
	do(chromedp.Navigate(web.URL))
	return do, func(condition string) {
		t.Helper()
		browsertest.Wait(t, ctx, condition)
	}
}

// TestPage drives the chat page: a picture and a question go to the model, its answer is text, and the next
// question comes with all before it.
func TestPage(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "It is red. "}, {Text: hostileAnswer}, {Finish: "stop"}}}
	do, wait := openPage(t, script)
	picture := filepath.Join(t.TempDir(), "grey.png")
	file, err := os.Create(picture)
	require.NoError(t, err)
	require.NoError(t, errors.Join(png.Encode(file, image.NewGray(image.Rect(0, 0, 64, 64))), file.Close()))
	wait(`document.title === 'tiny'`)
	do(chromedp.SetUploadFiles("#file", []string{picture}))
	wait(`document.querySelector('#attached img')?.naturalWidth === 64`)
	do(chromedp.SendKeys("#text", "what color is it?"+kb.Enter))
	wait(`document.querySelector('.again')`)
	wait(`document.querySelectorAll('.turn').length === 2 && document.querySelector('.user img').naturalWidth === 64`)
	if len(script.got.Images) != 1 {
		t.Errorf("the model got %d pictures, want 1", len(script.got.Images))
	}
	first := len(script.got.Prompt.IDs)
	want, err := json.Marshal("It is red. " + hostileAnswer)
	require.NoError(t, err)
	wait(`document.querySelectorAll('.turn .text')[1].textContent === ` + string(want))
	wait(`document.title === 'tiny' && !document.querySelector('.turn script, .turn img[onerror]')`)
	do(chromedp.SendKeys("#text", "are you sure?"+kb.Enter))
	wait(`document.querySelectorAll('.turn').length === 4 && document.querySelectorAll('.again').length === 1`)
	if n := len(script.got.Prompt.IDs); len(script.got.Images) != 1 || n <= first {
		t.Errorf("after it, the model got %d pictures and %d tokens, want 1 and more than %d", len(script.got.Images), n, first)
	}
	second := len(script.got.Prompt.IDs)
	do(chromedp.Click(".again"))
	wait(`document.querySelectorAll('.turn').length === 4 && document.querySelector('.again')`)
	if n := len(script.got.Prompt.IDs); n != second {
		t.Errorf("tried again, the prompt has %d tokens, want %d", n, second)
	}
	do(chromedp.Click("#new"))
	wait(`document.querySelectorAll('.turn').length === 0`)
}

// TestPageStops: Esc ends an answer under way, for the server too.
func TestPageStops(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "It is"}}, waits: true, begun: make(chan struct{}), left: make(chan struct{})}
	do, wait := openPage(t, script)
	wait(`document.title === 'tiny'`)
	do(chromedp.SendKeys("#text", "what color is it?"+kb.Enter))
	wait(`document.querySelectorAll('.turn .text')[1]?.textContent === 'It is' && document.querySelector('#send').textContent === 'Stop'`)
	do(chromedp.KeyEvent(kb.Escape))
	<-script.left
	wait(`document.querySelector('#send').textContent === 'Send' && document.querySelector('.about').textContent.includes('stopped')`)
}
