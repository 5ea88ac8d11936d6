package vlm

import (
	"context"
	"math"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/batch"
	"patchwork/vlm/chat"
	"patchwork/vlm/picture"
)

// testModel is the shapes preset's model with random weights.
func testModel(t testing.TB, dev engine.Device, attention batch.Attention) *Runner {
	t.Helper()
	return testModelIn(t, dev, attention, shaders.F32)
}

// testModelIn is testModel with its matrices in a type of floats.
func testModelIn(t testing.TB, dev engine.Device, attention batch.Attention, storage shaders.Type) *Runner {
	t.Helper()
	r := testRecipe(t, 1)
	if r.Attention = attention; attention == batch.Seed {
		r.Turns = batch.InConversation
	}
	return testModelOf(t, dev, r, storage)
}

// testModelOf is a recipe's model with random weights.
func testModelOf(t testing.TB, dev engine.Device, r Recipe, storage shaders.Type) *Runner {
	t.Helper()
	l, err := PresetProcessor(r.Preset, r.Vision.Patches())
	must(t, err)
	m, err := NewModel(r.config(*r.Text, int(l.ImageID())), r.Init)
	must(t, err)
	m.StoreHalf(storage)
	must(t, m.Allocate(dev, false))
	must(t, m.Params.Initialise(dev, 3))
	return &Runner{m, l, dev}
}

// logits runs one sample in a row of its own and returns [T,V].
func logits(t testing.TB, l *Runner, s *batch.Sample, turns batch.Turns, pixels []byte) []float32 {
	t.Helper()
	b, err := batch.Build(batch.Shape{Rows: 1, T: s.Len(), Patches: l.Config.Vision.Patches()},
		batch.Modes{Attention: l.Config.Attention, Turns: turns, Loss: batch.OnAll}, [][]*batch.Sample{{s}})
	must(t, err)
	in := l.NewInputs(1, s.Len(), len(s.Images), s.Len())
	must(t, in.Allocate(l.Device))
	defer in.Free()
	var y *nn.Tensor
	program, err := nn.Record("logits", nn.Options{Params: l.Params}, func(g *nn.Graph) {
		y = g.Keep(g.Linear(l.Hidden(g, in, nil), g.Param(l.decoder.head), nil, nil))
	})
	must(t, err)
	plan, err := engine.NewPlan(program, l.most)
	must(t, err)
	exe, err := l.Device.Compile(plan, nil)
	must(t, err)
	defer exe.Free()
	var step [shaders.StepWords]uint32
	_, err = in.Upload(l.Device, b, pixels, &step)
	must(t, err)
	must(t, exe.Run(context.Background(), &step))
	out := make([]float32, y.Size())
	must(t, engine.DownloadTemp(l.Device, exe, y.View(), out))
	return out
}

// TestBranchIsAlone: a question among the branches of a picture gets the logits
// that it gets alone behind the picture.
func TestBranchIsAlone(t *testing.T) {
	img, err := picture.Decode(testPicture(t, testColors[1].rgb, 10, 12, 25))
	must(t, err)
	pixels := picture.Preprocess(img, 64)
	turns := []chat.Turn{{User: "what color is the shape?", Assistant: "green"}, {User: "is there a red shape?", Assistant: "no"},
		{User: "what is the green shape?", Assistant: "rectangle"}, {User: "is there not a circle?", Assistant: "yes"}}
	for _, dev := range devices.Open(t) {
		for _, attention := range []batch.Attention{batch.Document, batch.DocumentBidirectionalImage} {
			t.Run(dev.Info().Device+"/"+string(attention), func(t *testing.T) {
				l := testModel(t, dev, attention)
				sampler := batch.Sampler{Encoder: l.Processor.Encoder, RowLen: 256, Turns: batch.InBranches}
				samples, _, err := sampler.Samples(0, chat.Conversation{Turns: turns, Images: 1})
				must(t, err)
				s := samples[0]
				together := logits(t, l, s, batch.InBranches, pixels)
				v := l.Config.Text.VocabSize
				for i, turn := range turns {
					one, err := l.Processor.Conversation(chat.Conversation{Turns: []chat.Turn{turn}, Images: 1})
					must(t, err)
					alone := logits(t, l, &batch.Sample{IDs: one.IDs, Answer: one.Answer, Images: one.Images}, batch.InConversation, pixels)
					prefix := s.Branches[0]
					compareLogits(t, turn.User, together[s.Branches[i]*v:][:(len(one.IDs)-prefix)*v], alone[prefix*v:])
				}
			})
		}
	}
}

// compareLogits allows the rounding of sums over tiles that are cut elsewhere.
func compareLogits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d logits, want %d", what, len(got), len(want))
	}
	worst := 0.0
	for i := range want {
		worst = math.Max(worst, math.Abs(float64(got[i]-want[i])))
	}
	if worst > 1e-4 || math.IsNaN(worst) {
		t.Errorf("%s: logits differ by %g", what, worst)
	}
}

// TestGenerateMatchesForward: what the key/value cache gives token by token is
// what the whole text gives at once.
func TestGenerateMatchesForward(t *testing.T) {
	img, err := picture.Decode(testPicture(t, testColors[2].rgb, 5, 9, 30))
	must(t, err)
	pixels := picture.Preprocess(img, 64)
	for _, dev := range devices.Open(t) {
		for _, attention := range []batch.Attention{batch.Document, batch.DocumentBidirectionalImage, batch.Seed} {
			t.Run(dev.Info().Device+"/"+string(attention), func(t *testing.T) {
				l := testModel(t, dev, attention)
				prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: "what color is the shape?"}}, Images: 1}, nil)
				must(t, err)
				g := NewGenerator(l)
				defer g.Free()
				got, err := g.Generate(context.Background(), prompt, [][]byte{pixels}, GenerateOptions{MaxNewTokens: 6})
				must(t, err)
				ids, v := prompt.IDs, l.Config.Text.VocabSize
				for i, id := range got.IDs {
					s := &batch.Sample{IDs: ids, Answer: make([]bool, len(ids)), Images: prompt.Images}
					all := logits(t, l, s, batch.InConversation, pixels)
					last, best := all[(len(ids)-1)*v:], 0
					for j, x := range last {
						if x > last[best] {
							best = j
						}
					}
					// Equal, or so close that rounding decides.
					if int32(best) != id && last[best]-last[id] > 1e-4 {
						t.Fatalf("token %d is %d by the cache, %d by the whole text (%g against %g)", i, id, best, last[id], last[best])
					}
					ids = append(ids, id)
				}
			})
		}
	}
}

// TestEvaluateMatchesGeneration: the exact match found with all answers at once
// is the one that generating every answer gives.
func TestEvaluateMatchesGeneration(t *testing.T) {
	file := testData(t, 12)
	for _, dev := range devices.Open(t) {
		l := testModel(t, dev, batch.DocumentBidirectionalImage)
		g := NewGenerator(l)
		defer g.Free()
		img := map[int][]byte{}
		turns := 0
		_, err := Evaluate(context.Background(), l, EvalOptions{Data: []string{file}, Answer: func(a EvalAnswer) {
			turns++
			if img[a.Row] == nil {
				decoded, err := picture.Decode(testPicture(t, testColors[a.Row%3].rgb, 4+a.Row%17, 3+a.Row%13, 20+a.Row%11))
				must(t, err)
				img[a.Row] = picture.Preprocess(decoded, 64)
			}
			prompt, err := l.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{{User: a.Question}}, Images: 1}, nil)
			must(t, err)
			got, err := g.Generate(context.Background(), prompt, [][]byte{img[a.Row]}, GenerateOptions{MaxNewTokens: 20})
			must(t, err)
			match := got.Finish == "stop" && l.Processor.Tokenizer.Decode(got.IDs, true) == a.Truth
			if match != a.Match {
				t.Errorf("row %d %q: match %v, generated %q for %q", a.Row, a.Question, a.Match, l.Processor.Tokenizer.Decode(got.IDs, true), a.Truth)
			}
		}})
		must(t, err)
		if turns != 36 {
			t.Errorf("%d turns, want 36", turns)
		}
	}
}
