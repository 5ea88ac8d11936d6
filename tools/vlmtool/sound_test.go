package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/infer"
	"patchwork/tools/vlmtool/internal/inspect"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
)

// tone returns a WAV file of a sine at 16 kHz.
func tone(hertz float64, samples int) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("RIFF"), uint32(36+2*samples))
	out = append(out, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	out = le.AppendUint32(le.AppendUint32(out, 16_000), 32_000)
	out = le.AppendUint32(append(out, "\x02\x00\x10\x00data"...), uint32(2*samples))
	for i := range samples {
		out = le.AppendUint16(out, uint16(int16(20_000*math.Sin(2*math.Pi*hertz*float64(i)/16_000))))
	}
	return out
}

// soundRun trains the words preset for three steps on two tones.
func soundRun(t testing.TB) (model, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "train-00000-of-00001.parquet")
	w, err := data.CreateWithSound(file)
	require.NoError(t, err)
	for i := range 20 {
		answer := []string{"yes", "no"}[i%2]
		require.NoError(t, w.Write(data.Row{Clips: [][]byte{tone(400+1000*float64(i%2), 1000+100*i)}, Turns: []data.Turn{{User: "what word is it?", Assistant: answer}}}))
	}
	require.NoError(t, w.Close())
	model = filepath.Join(dir, "run")
	got := vlmtool("train", "--preset", "words", "--data", file, "--out", model, "--device", "cpu", "--steps", "3", "--seq-len", "160", "--pool-size", "8", "--val-every", "2", "--quiet", "--json")
	if got.code != 0 || strings.Count(got.stdout, "\n") != 1 || got.stderr != "" {
		t.Fatalf("train: %+v", got)
	}
	return model, file
}

// TestSound trains, evaluates, asks and inspects a model that hears, also as one file.
func TestSound(t *testing.T) {
	model, file := soundRun(t)
	clip := filepath.Join(t.TempDir(), "clip.wav")
	require.NoError(t, os.WriteFile(clip, tone(1400, 5000), 0o644))
	ask := func(model string, more ...string) infer.Result {
		t.Helper()
		got := vlmtool(append([]string{"infer", "--model", model, "--device", "cpu", "--json", "--max-new-tokens", "3", "--audio", clip}, more...)...)
		var r infer.Result
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 0 || got.stderr != "" {
			t.Fatalf("%v: %+v", err, got)
		}
		return r
	}
	// 5000 samples are 15 frames of 640, one every 320; <|user|>, a?, <|assistant|> are 4 more.
	one := ask(model, "--prompt", "a?")
	if one.PromptTokens != 15+4 || one.CompletionTokens == 0 && one.FinishReason != "stop" {
		t.Errorf("%+v", one)
	}
	if two := ask(model, "--audio", clip, "--prompt", "a?"); two.PromptTokens != 2*15+4 {
		t.Errorf("two clips: %+v", two)
	}
	if placed := ask(model, "--prompt", "a<|audio|>?"); placed.PromptTokens != 15+4 {
		t.Errorf("a clip in the prompt: %+v", placed)
	}
	if raw := ask(model, "--raw", "--prompt", "a?"); raw.PromptTokens != 15+2 {
		t.Errorf("without the template: %+v", raw)
	}
	single := filepath.Join(t.TempDir(), "m.gguf")
	if got := vlmtool("export", "--model", model, "--quantize", "f32", "--out", single, "--json"); got.code != 0 {
		t.Fatalf("export: %+v", got)
	}
	if r := ask(single, "--prompt", "a?"); r.Text != one.Text {
		t.Errorf("the GGUF file answers %q, the folder %q", r.Text, one.Text)
	}

	nll := map[float64]bool{}
	for _, control := range []string{"none", "shuffled", "blank"} {
		got := vlmtool("eval", "--model", model, "--data", file, "--control", control, "--device", "cpu", "--json")
		var r eval.Result
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 0 || r.Samples != 20 || got.stderr != "" {
			t.Errorf("%s: %v: %+v", control, err, got)
		}
		nll[r.NLLPerToken] = true
	}
	if len(nll) != 3 {
		t.Errorf("the controls have the same losses: %v", nll)
	}

	got := vlmtool("inspect", model)
	if !strings.Contains(got.stdout, "encoder-free audio-language model") || !strings.Contains(got.stdout, "16000 Hz in frames of 640 samples, one every 320") {
		t.Errorf("inspect: %+v", got)
	}
	got = vlmtool("inspect", file, "--rows", "--json", "--model", model)
	if line, _, _ := strings.Cut(got.stdout, "\n"); got.code != 0 || !strings.Contains(line, `"status":"use"`) || !strings.Contains(line, `"audios":[0.063]`) {
		t.Errorf("inspect --rows: %+v", got)
	}
}

// TestRenderSound: OpenAI's parts of sound become as many tokens as the model hears frames.
func TestRenderSound(t *testing.T) {
	model, _ := soundRun(t)
	sound := `{"type":"input_audio","input_audio":{"format":"wav","data":"` + base64.StdEncoding.EncodeToString(tone(500, 2000)) + `"}}`
	text := func(s string) string { return fmt.Sprintf(`{"type":"text","text":%q}`, s) }
	render := func(parts ...string) outcome {
		file := filepath.Join(t.TempDir(), "messages.json")
		require.NoError(t, os.WriteFile(file, []byte(`[{"role":"user","content":[`+strings.Join(parts, ",")+`]}]`), 0o644))
		return vlmtool("inspect", model, "--render", file)
	}
	const five = "<|audio|><|audio|><|audio|><|audio|><|audio|><|audio|>" // ⌈(2000-640)/320⌉ + 1
	for _, c := range []struct {
		parts []string
		want  string
	}{
		{[]string{sound, text("a?")}, "<|user|>" + five + "a?<|assistant|>"},
		{[]string{text("a"), sound, text("?")}, "<|user|>a" + five + "?<|assistant|>"},
		{[]string{sound, text("a"), sound}, "<|user|>" + five + "a" + five + "<|assistant|>"},
	} {
		got := render(c.parts...)
		var r inspect.Rendered
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 0 || r.Prompt != c.want {
			t.Errorf("%v: %+v, want %q", err, got, c.want)
		}
	}
	for want, parts := range map[string][]string{
		`"input_audio" has no sound`: {`{"type":"input_audio","input_audio":{"data":""}}`},
		"not a sound file":           {`{"type":"input_audio","input_audio":{"data":"AAAAAAAAAAA="}}`},
		"is the place of sound":      {text("<|audio|>"), sound},
	} {
		render(parts...).clear(t, 1, "--render", want)
	}
}

// TestSoundMistakes: each gets one clear line.
func TestSoundMistakes(t *testing.T) {
	hears, sounds := soundRun(t)
	sees, images := smallRun(t)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o644))
		return path
	}
	wav := tone(400, 3000)
	good, cut, empty := write("good.wav", wav), write("cut.wav", wav[:1000]), write("empty.wav", nil)
	png := write("x.png", []byte("\x89PNG\r\n\x1a\n"))
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		wants []string
	}{
		{"no such file", []string{"infer", "--model", hears, "--audio", "nowhere.wav", "--prompt", "a"}, 1, []string{"--audio", "nowhere.wav"}},
		{"a folder", []string{"infer", "--model", hears, "--audio", dir, "--prompt", "a"}, 1, []string{"--audio", dir}},
		{"cut short", []string{"infer", "--model", hears, "--audio", cut, "--prompt", "a"}, 1, []string{"--audio " + cut, "cut short"}},
		{"empty", []string{"infer", "--model", hears, "--audio", empty, "--prompt", "a"}, 1, []string{"--audio " + empty, "empty"}},
		{"a picture", []string{"infer", "--model", hears, "--audio", png, "--prompt", "a"}, 1, []string{"--audio " + png, "WAV, FLAC, MP3 or Ogg Vorbis"}},
		{"a model that sees", []string{"infer", "--model", sees, "--audio", good, "--prompt", "a"}, 2, []string{"--audio", "takes no sound"}},
		{"an image for a model that hears", []string{"infer", "--model", hears, "--image", png, "--prompt", "a"}, 2, []string{"--image", "takes no images"}},
		{"standard input twice", []string{"infer", "--model", hears, "--audio", "-", "--audio", "-", "--prompt", "a"}, 2, []string{"standard input"}},
		{"standard input and chat", []string{"infer", "--model", hears, "--audio", "-", "--chat"}, 2, []string{"--audio -", "--chat"}},
		{"attention on sound", []string{"infer", "--model", hears, "--audio", good, "--image", png, "--explain", "x.png", "--prompt", "a"}, 2, []string{"--explain", "--audio"}},
		{"sound for a model that sees", []string{"train", "--data", sounds, "--out", out, "--device", "cpu", "--steps", "2", "--quiet"}, 1, []string{"it has sound, which the model does not take"}},
		{"images for a model that hears", []string{"train", "--preset", "words", "--data", images, "--out", out + "2", "--device", "cpu", "--steps", "2", "--quiet"}, 1, []string{"it has images, which the model does not take"}},
		{"images to evaluate", []string{"eval", "--model", hears, "--data", images, "--device", "cpu", "--quiet"}, 1, []string{"it has images, which the model does not take"}},
		{"colors of sound", []string{"train", "--preset", "words", "--data", sounds, "--out", out + "3", "--mean-colors"}, 2, []string{"vision_config"}},
		{"a benchmark of images", []string{"bench", "embedder", "--preset", "words", "--device", "cpu"}, 1, []string{"no images"}},
	} {
		t.Run(c.name, func(t *testing.T) { vlmtool(c.args...).clear(t, c.code, c.wants...) })
	}
}
