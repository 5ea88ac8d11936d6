package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/tools/internal/browsertest"
	"patchwork/tools/internal/listen"
	"patchwork/tools/vlmtool/internal/serve"
	"patchwork/vlm"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
	schedule "patchwork/vlm/serve"
)

// maxTokens are those of an answer: random weights do not end one.
const maxTokens = 8

// saveModel writes a model of two layers with random weights.
func saveModel(t *testing.T, dir string) {
	t.Helper()
	text, err := pretrained.Presets.ReadFile("presets/shapes/recipe.json")
	require.NoError(t, err)
	var r struct {
		Vision vlm.VisionConfig `json:"vision_config"`
		Text   vlm.TextConfig   `json:"text_config"`
		Init   vlm.Init         `json:"init"`
	}
	require.NoError(t, json.Unmarshal(text, &r))
	r.Text.NumHiddenLayers = 2
	proc, err := pretrained.PresetProcessor("shapes", r.Vision.Patches())
	require.NoError(t, err)
	for _, name := range proc.Tokenizer.Specials() { // random weights would write them
		if id, _ := proc.Tokenizer.ID(name); !proc.IsEOS(id) {
			proc.Suppressed = append(proc.Suppressed, id)
		}
	}
	m, err := vlm.NewModel(vlm.Config{
		ModelType: vlm.ModelType, Vision: r.Vision, Text: r.Text, ImageTokenID: int(proc.ImageID()), AudioTokenID: int(proc.AudioID()),
		Attention: packing.Document, Turns: packing.InConversation, FormatVersion: vlm.FormatVersion,
	}, r.Init)
	require.NoError(t, err)
	dev := cpu.Open(1)
	require.NoError(t, m.Allocate(dev, false))
	require.NoError(t, m.Params.Initialise(dev, 3))
	require.NoError(t, pretrained.Save(m, proc, dir, pretrained.ValuesOn(m, dev)))
}

// picture is a PNG with a red square.
func picture(t *testing.T) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			img.Set(x, y, color.White)
			if x > 20 && x < 40 && y > 8 && y < 28 {
				img.Set(x, y, color.RGBA{220, 30, 30, 255})
			}
		}
	}
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, img))
	return out.Bytes()
}

// answer is what a model says outside a browser.
func answer(t *testing.T, model, question string, picture []byte) string {
	t.Helper()
	runner, err := pretrained.LoadWith(model, cpu.Open(1), pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
	require.NoError(t, err)
	defer runner.Close()
	scheduler, err := schedule.NewBatched(runner, schedule.Options{Parallel: 1, Queue: 1})
	require.NoError(t, err)
	defer scheduler.Close()
	body := fmt.Sprintf(`{"temperature":0,"max_tokens":%d,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}},{"type":"text","text":%q}]}]}`,
		maxTokens, base64.StdEncoding.EncodeToString(picture), question)
	w := httptest.NewRecorder()
	serve.Handler("tiny", runner, scheduler).ServeHTTP(w, httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(body)))
	var reply struct {
		Choices []struct{ Message struct{ Content string } }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &reply))
	if len(reply.Choices) != 1 || reply.Choices[0].Message.Content == "" {
		t.Fatalf("got %s", w.Body)
	}
	return reply.Choices[0].Message.Content
}

// exportSite exports the model of saveModel. The test is skipped where vlmtool is built without the
// program for pages.
func exportSite(t *testing.T) (site string) {
	t.Helper()
	dir := t.TempDir()
	saveModel(t, filepath.Join(dir, "tiny"))
	example := filepath.Join(dir, "square.png")
	require.NoError(t, os.WriteFile(example, picture(t), 0o600))
	site = filepath.Join(dir, "site")
	_, err := Export(t.Context(), Options{ExportOptions: pretrained.ExportOptions{Model: filepath.Join(dir, "tiny"), Out: site}, Context: 512, Examples: []string{example}})
	if errors.Is(err, ErrNoProgram) {
		t.Skip("the program for pages is not built: tools/webprogram.sh builds it")
	}
	require.NoError(t, err)
	return site
}

// TestSite asks the exported model about a picture in a browser, by WebGPU and on the CPU: it answers
// as outside of one.
func TestSite(t *testing.T) {
	site := exportSite(t)
	const question = "what color is the square?"
	want := answer(t, join(t, site), question, picture(t))
	root, err := open(site)
	require.NoError(t, err)
	defer root.Close()
	web, err := listen.Start("127.0.0.1:0", options(root.FS()))
	require.NoError(t, err)
	defer web.Close()
	for _, device := range []string{"cpu", "webgpu"} {
		t.Run(device, func(t *testing.T) {
			ctx := browsertest.Start(t, browsertest.WebGPU...)
			askPage(t, ctx, web.URL+"?device="+device, question, want)
		})
	}
}

func askPage(t *testing.T, ctx context.Context, url, question, want string) {
	t.Helper()
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		require.NoError(t, chromedp.Do(ctx, actions...))
	}
	wait := func(condition string) {
		t.Helper()
		browsertest.Wait(t, ctx, condition)
	}
	do(chromedp.Navigate(url))
	wait(`document.querySelector('.examples img')?.naturalWidth === 64 || document.querySelector('.loading.error')`)
	do(chromedp.Click(".examples button"))
	wait(`document.querySelector('#attached img')?.naturalWidth === 64`)
	wait(fmt.Sprintf(`document.getElementById('settings').elements.max_tokens.value = '%d'`, maxTokens))
	do(chromedp.SendKeys("#text", question+kb.Enter))
	wait(`document.querySelector('.again')`)
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector('.turn:not(.user) .text').textContent`))
	require.NoError(t, err)
	if got != want {
		t.Errorf("the page says %q, outside of a browser the model says %q", got, want)
	}
}

// join puts the pieces of a site's weights together.
func join(t *testing.T, site string) (file string) {
	t.Helper()
	var m manifest
	data, err := os.ReadFile(filepath.Join(site, "model.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &m))
	var all []byte
	for _, p := range m.Pieces {
		data, err := os.ReadFile(filepath.Join(site, filepath.FromSlash(p.File)))
		require.NoError(t, err)
		all = append(all, data...)
	}
	file = filepath.Join(t.TempDir(), "model.gguf")
	require.NoError(t, os.WriteFile(file, all, 0o600))
	return file
}

// TestGGUF: the pieces of a GGUF file are the file, which stays where it is.
func TestGGUF(t *testing.T) {
	file := join(t, exportSite(t))
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	site := filepath.Join(t.TempDir(), "site")
	_, err = Export(t.Context(), Options{ExportOptions: pretrained.ExportOptions{Model: file, Out: site}, Context: 512})
	require.NoError(t, err)
	for _, of := range []string{file, join(t, site)} {
		if got, err := os.ReadFile(of); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %d bytes, want %d", of, err, len(got), len(want))
		}
	}
}

// TestServed: nothing but the site's files is served, and every one that the service worker keeps is there.
func TestServed(t *testing.T) {
	site := exportSite(t)
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(site, "link")))
	root, err := open(site)
	require.NoError(t, err)
	defer root.Close()
	serve := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		options(root.FS()).Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 200}, {"HEAD", "/model.json", 200}, {"POST", "/", 405}, {"GET", "/weights/", 404}, {"GET", "/none", 404}, {"GET", "/link", 404}, {"GET", "/../secret", 404},
	} {
		if got := serve(c.method, c.path).Code; got != c.want && !(c.path == "/link" && got >= 400) {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, got, c.want)
		}
	}
	worker := serve("GET", "/offline.js").Body.String()
	_, list, _ := strings.Cut(worker, "files: ")
	var files []string
	require.NoError(t, json.NewDecoder(strings.NewReader(list)).Decode(&files))
	if len(files) < 15 {
		t.Errorf("the service worker keeps only %v", files)
	}
	for _, file := range files {
		if got := serve("GET", "/"+strings.TrimPrefix(file, "./")).Code; got != 200 {
			t.Errorf("the service worker keeps %s, which is served with status %d", file, got)
		}
	}
}

// TestDamagedSite changes a byte of the weights: the page says so instead of answering.
func TestDamagedSite(t *testing.T) {
	site := exportSite(t)
	pieces, err := filepath.Glob(filepath.Join(site, weightsFolder, "*"))
	require.NoError(t, err)
	data, err := os.ReadFile(pieces[0])
	require.NoError(t, err)
	data[len(data)/2]++
	require.NoError(t, os.WriteFile(pieces[0], data, 0o600))
	root, err := open(site)
	require.NoError(t, err)
	defer root.Close()
	web, err := listen.Start("127.0.0.1:0", options(root.FS()))
	require.NoError(t, err)
	defer web.Close()
	ctx := browsertest.Start(t)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(web.URL+"?device=cpu")))
	browsertest.Wait(t, ctx, `document.querySelector('.loading.error p')?.textContent.includes('is damaged')`)
}
