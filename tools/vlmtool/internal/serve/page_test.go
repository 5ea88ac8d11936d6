package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"patchwork/internal/require"
	"patchwork/tools/internal/browsertest"
	"patchwork/tools/internal/listen"
	"patchwork/vlm/generate"
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

// greyPicture writes a picture to a file.
func greyPicture(t *testing.T, width, height int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grey.png")
	file, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, errors.Join(png.Encode(file, image.NewGray(image.Rect(0, 0, width, height))), file.Close()))
	return path
}

// TestPage drives the chat page: a picture and a question go to the model, its answer is text, and the next
// question comes with all before it.
func TestPage(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "It is red. "}, {Text: hostileAnswer}, {Finish: "stop"}}}
	do, wait := openPage(t, script)
	picture := greyPicture(t, 64, 64)
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
	wait(`document.querySelectorAll('.turn').length === 4 && !document.querySelector('.waiting') && document.querySelectorAll('.again').length === 1`)
	if n := len(script.got.Prompt.IDs); len(script.got.Images) != 1 || n <= first {
		t.Errorf("after it, the model got %d pictures and %d tokens, want 1 and more than %d", len(script.got.Images), n, first)
	}
	second := len(script.got.Prompt.IDs)
	do(chromedp.Click(".again"))
	wait(`document.querySelectorAll('.turn').length === 4 && !document.querySelector('.waiting') && document.querySelector('.again')`)
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

// planted is attention of n tokens on 64 patches: all that goes to the picture is on patch 8·(token+1)+5.
func planted(n int) (maps []generate.AttentionMap) {
	for i := range n {
		m := generate.AttentionMap{Patches: make([]float64, 64), Prompt: 0.25}
		m.Patches[(8*(i+1)+5)%64] = 0.75
		maps = append(maps, m)
	}
	return maps
}

// TestPageShowsAttention: a word of an answer about a picture shows where the model looked, over the part of the
// picture that it saw; the same word, or Esc, removes it. The server is asked once for an answer.
func TestPageShowsAttention(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "It is red."}, {Finish: "stop"}}, attention: planted(40)}
	do, wait := openPage(t, script)
	wait(`document.title === 'tiny'`)
	do(chromedp.SendKeys("#text", "hello"+kb.Enter))
	wait(`document.querySelector('.again') && !document.querySelector('.word')`) // no picture, nothing to look at
	do(chromedp.Click("#new"), chromedp.SetUploadFiles("#file", []string{greyPicture(t, 96, 48)}))
	wait(`document.querySelector('#attached img')?.naturalWidth === 96`)
	do(chromedp.SendKeys("#text", "what color is it?"+kb.Enter))
	wait(`document.querySelectorAll('.word').length === 3 && document.querySelector('.turn:not(.user) .text').textContent === 'It is red.'`)
	wait(`[...document.querySelectorAll('.word')].every(word => word.role === 'button' && word.ariaPressed === 'false' && word.ariaLabel.includes('Where the model looked'))`)
	wait(`document.querySelector('.user img').width === 160`) // small pictures are enlarged
	if len(script.observed) != 0 {
		t.Error("the server was asked before a word was chosen")
	}
	do(chromedp.Click(".word:nth-of-type(3)"))
	wait(`document.querySelector('.word[aria-pressed=true]')?.textContent === 'red' && document.querySelector('.look').textContent.includes('“red”')`)
	wait(`document.querySelector('.look').textContent.includes('75% of attention')`)
	// The token " red" is the third: its patch is row 4, column 5; the model saw the middle half of the picture.
	brightest := `(() => {
		const map = document.querySelector('.picture .map'), cells = map.getContext('2d').getImageData(0, 0, map.width, map.height).data
		let best = 0
		for (let i = 0; i < 64; i++) if (cells[4 * i + 3] > cells[4 * best + 3]) best = i
		return [map.width, map.height, map.style.left, map.style.width, best].join()
	})()`
	tokens, err := small().Processor.Tokenizer.EncodePlain("It is red.")
	require.NoError(t, err)
	_, word, _ := strings.Cut(small().Processor.Tokenizer.Decode(tokens, true), " is")
	first := 0 // token of " red."
	for small().Processor.Tokenizer.Decode(tokens[first:], true) != word {
		first++
	}
	wait(brightest + fmt.Sprintf(` === '8,8,25%%,50%%,%d'`, (8*(first+1)+5)%64))
	do(chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.Enter)) // the word before it, by keys
	wait(`document.querySelector('.word[aria-pressed=true]')?.textContent === 'is' && document.activeElement.textContent === 'is' && document.querySelectorAll('.map').length === 1`)
	wait(`[...document.querySelectorAll('.word')].filter(word => word.tabIndex === 0).length === 1`)
	do(chromedp.KeyEvent(kb.Escape))
	wait(`!document.querySelector('.map') && !document.querySelector('.looked') && !document.querySelector('.word[aria-pressed=true]')`)
	do(chromedp.KeyEvent(kb.Enter))
	wait(`document.querySelector('.map')`)
	do(chromedp.Click(".word:nth-of-type(2)"))
	wait(`!document.querySelector('.map')`)
	if n := len(script.observed); n != 1 || len(script.observed[0].Images) != 1 {
		t.Errorf("the server was asked %d times, want once, about the picture", n)
	}
}

// TestPageAttentionFails: an error of the server is shown below the answer, and the next click asks again.
func TestPageAttentionFails(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "red"}, {Finish: "stop"}}}
	do, wait := openPage(t, script)
	wait(`document.title === 'tiny'`)
	do(chromedp.SetUploadFiles("#file", []string{greyPicture(t, 64, 64)}))
	wait(`document.querySelector('#attached img')?.naturalWidth === 64`)
	do(chromedp.SendKeys("#text", "what color is it?"+kb.Enter))
	wait(`document.querySelector('.word')`)
	script.attention = []generate.AttentionMap{{Patches: make([]float64, 64), Prompt: 1}}
	do(chromedp.Evaluate[chromedp.Void](`{
		const real = fetch
		let failed = false
		window.fetch = (path, options) => path === 'v1/attention' && !failed ? (failed = true, Promise.reject(new Error('no memory left'))) : real(path, options)
	}`), chromedp.Click(".word"))
	wait(`document.querySelector('.look.error')?.textContent === 'no memory left' && !document.querySelector('.word[aria-pressed=true]')`)
	do(chromedp.Click(".word"))
	wait(`document.querySelector('.map') && document.querySelector('.look').textContent.includes('0.0% of attention')`)
	do(chromedp.Click(".again"))
	wait(`document.querySelectorAll('.word').length === 1 && !document.querySelector('.map')`)
}

// TestPageCopiesPictures: where the pictures are scrolled out of view, their maps are below the answer too. The
// conversation's later answers have the pictures of all questions, and going on removes a map.
func TestPageCopiesPictures(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "red"}, {Finish: "stop"}}, attention: planted(40)}
	for i := range script.attention { // of two pictures
		script.attention[i].Patches = append(make([]float64, 64), script.attention[i].Patches...)
	}
	do, wait := openPage(t, script)
	do(chromedp.EmulateViewport(360, 560))
	wait(`document.title === 'tiny'`)
	picture := greyPicture(t, 64, 64)
	for i := range 4 {
		if i < 2 {
			do(chromedp.SetUploadFiles("#file", []string{picture}))
			wait(`document.querySelector('#attached img')`)
		}
		do(chromedp.SendKeys("#text", "what color is it?"+kb.Enter))
		wait(fmt.Sprintf(`document.querySelectorAll('.word').length === %d`, i+1))
	}
	do(chromedp.Click(".turn:last-child .word"))
	wait(`document.querySelectorAll('.user .map').length === 2 && document.querySelectorAll('.turn:last-child .copies .map').length === 2`)
	wait(`document.querySelector('.turn:last-child .look').textContent.includes('on the pictures')`)
	wait(`document.documentElement.scrollWidth <= 360`)
	do(chromedp.KeyEvent(kb.Escape))
	wait(`!document.querySelector('.map, .copies')`)
	do(chromedp.Click(".turn:last-child .word"))
	wait(`document.querySelector('.map')`)
	do(chromedp.SendKeys("#text", "are you sure?"+kb.Enter))
	wait(`document.querySelectorAll('.word').length === 5 && !document.querySelector('.map, .copies, .word[aria-pressed=true]')`)
}
