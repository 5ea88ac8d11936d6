package vlm

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/shaders"
	"patchwork/vlm/chat"
	"patchwork/vlm/picture"
)

// TestDevicesAgree trains 20 steps on the CPU and on every other device: their
// losses stay within 1e-3 of each other, and both models answer alike.
func TestDevicesAgree(t *testing.T) {
	files, r := []string{testData(t, 40)}, testRecipe(t, 20)
	reference := filepath.Join(t.TempDir(), "cpu")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	must(t, err)
	want := losses(t, reference)
	answer := testAnswer(t, cpu.Open(0), reference)
	for _, dev := range devices.Open(t) {
		name := dev.Info().Device
		if name == "cpu" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			out, again := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "again")
			_, err := trainOn(t, dev, r, files, out, false, Observer{})
			must(t, err)
			got := losses(t, out)
			for i := range want {
				if d := math.Abs(got[i] - want[i]); !(d <= 1e-3*math.Max(1, want[i])) {
					t.Errorf("step %d: loss %v, on the CPU %v", i+1, got[i], want[i])
				}
			}
			_, err = trainOn(t, dev, r, files, again, false, Observer{})
			must(t, err)
			same(t, "two runs on "+name, got, losses(t, again))
			narrow := devices.NewNarrow(dev, 4096) // bound at once: a part of every large matrix
			for _, dev := range []engine.Device{dev, narrow} {
				if text := testAnswer(t, dev, reference); text != answer {
					t.Errorf("the answer is %q, on the CPU %q", text, answer)
				}
			}
			if narrow.Divided["embed"] == 0 || narrow.Divided["matmul"] == 0 {
				t.Errorf("embeddings or products were not cut: %v", narrow.Divided)
			}
		})
	}
}

// testAnswer asks a model in a folder about a red square.
func testAnswer(t testing.TB, dev engine.Device, dir string) string {
	t.Helper()
	return testAnswerIn(t, dev, dir, shaders.F32)
}

func testAnswerIn(t testing.TB, dev engine.Device, dir string, storage shaders.Type) string {
	t.Helper()
	l, err := LoadAs(dir, dev, storage)
	must(t, err)
	g := NewGenerator(l)
	defer g.Free()
	img, err := picture.Decode(testPicture(t, testColors[0].rgb, 10, 10, 30))
	must(t, err)
	prompt, err := l.Language.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 1}, nil)
	must(t, err)
	got, err := g.Generate(context.Background(), prompt, [][]byte{picture.Preprocess(img, 64)}, GenerateOptions{MaxNewTokens: 8})
	must(t, err)
	return l.Language.Tokenizer.Decode(got.IDs, true)
}
