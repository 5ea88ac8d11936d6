package web

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chromedp/chromedp"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/tools/internal/browsertest"
	"patchwork/tools/internal/shapes"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// TestTrainPage trains on the CPU, by WebAssembly: the loss is that of the same training here, the
// curve and the answers are shown, and a training can be stopped.
func TestTrainPage(t *testing.T) {
	ctx := browsertest.Start(t)
	url := serveTrainPage(t)
	const steps, held = 8, 6
	query := fmt.Sprintf("/train.html?device=cpu&held=%d&steps=", held)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(url+query+strconv.Itoa(steps)), chromedp.Click("#go")))
	browsertest.Wait(t, ctx, `document.querySelector("#status.error") || document.getElementById("status").textContent.includes("was trained")`)
	page := func(script string) string {
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
		require.NoError(t, err)
		return text
	}
	if text := page(`document.getElementById("status").textContent`); !strings.Contains(text, "in 8 steps") {
		t.Fatal(text)
	}
	got, err := strconv.ParseFloat(page(`document.getElementById("loss").textContent`), 64)
	require.NoError(t, err)
	if want := lossHere(t, steps, held); !(math.Abs(got-want) <= 0.002*want) { // three decimals, and the rounding of eight steps
		t.Errorf("the page's loss is %g after %d steps, here it is %g", got, steps, want)
	}
	if points := page(`document.querySelector("#curve .each").getAttribute("points")`); len(strings.Fields(points)) != steps {
		t.Errorf("the curve has points %q, want %d", points, steps)
	}
	if text := page(`document.getElementById("score").textContent`); !strings.Contains(text, "untrained") || !strings.Contains(text, "after 8 steps") {
		t.Errorf("the score is %q", text)
	}
	if text := page(`String(document.querySelectorAll("#examples li .when").length)`); text != "12" {
		t.Errorf("%s answers are shown, want those to 6 questions before and after", text)
	}

	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(url+query+"100"), chromedp.Click("#go")))
	browsertest.Wait(t, ctx, `document.getElementById("step").textContent.startsWith("2 ")`)
	require.NoError(t, chromedp.Do(ctx, chromedp.Click("#go")))
	browsertest.Wait(t, ctx, `document.getElementById("go").textContent === "Start"`)
	if text := page(`document.getElementById("status").textContent`); !strings.Contains(text, "was trained") || strings.Contains(text, "in 100 steps") {
		t.Errorf("after Stop the page says %q", text)
	}
}

// serveTrainPage serves the page of training as vlmtool web would.
func serveTrainPage(t *testing.T) string {
	files, err := TrainPage()
	if errors.Is(err, ErrNoProgram) {
		t.Skip("the program is not built: make")
	}
	require.NoError(t, err)
	site := fstest.MapFS{}
	for name, contents := range files {
		site[name] = &fstest.MapFile{Data: contents}
	}
	server := httptest.NewServer(options(site).Handler)
	t.Cleanup(server.Close)
	return server.URL
}

// lossHere is the loss of the last of some steps of the page's training, on this machine's CPU.
func lossHere(t *testing.T, steps, held int) (loss float64) {
	g := shapes.New(1)
	rows := func(n int) []data.File {
		var out bytes.Buffer
		w := data.NewWriter(&out)
		require.NoError(t, g.WriteRows(w, n))
		require.NoError(t, w.Close())
		return []data.File{data.InMemory("shapes", out.Bytes())}
	}
	recipe, err := train.Preset("shapes")
	require.NoError(t, err)
	recipe.Steps, recipe.ValEvery, recipe.SaveEvery = steps, 0, 0
	val := rows(held)
	_, err = train.Run(t.Context(), train.Options{
		Recipe: recipe, Data: rows(8 * steps), ValData: val, Device: cpu.Open(0),
		Observe: train.Observer{Step: func(m train.StepMetrics) { loss = float64(m.Loss) }},
	})
	require.NoError(t, err)
	return loss
}
