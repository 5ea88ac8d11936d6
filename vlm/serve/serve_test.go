package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

func scheduler(t *testing.T, o Options) (*Batched, *vlm.Runner) {
	t.Helper()
	model := vlmtest.Model(t, cpu.Open(1), packing.Document)
	model.Processor.EOS = nil
	s, err := NewBatched(model, o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, model
}

func request(t *testing.T, model *vlm.Runner, text string) Request {
	t.Helper()
	prompt, err := model.Processor.Messages([]chat.Message{{Role: "user", Content: text}}, chat.Options{AddGenerationPrompt: true})
	require.NoError(t, err)
	return Request{Client: "a", Prompt: prompt, MaxNewTokens: 8}
}

// read returns the texts of the choices and their tokens.
func read(t *testing.T, a *Answer) (texts []string, finish []string, tokens [][]Token, err error) {
	t.Helper()
	for {
		e, err := a.Next(t.Context())
		if err != nil {
			return texts, finish, tokens, err
		}
		for len(texts) <= e.Choice {
			texts, finish, tokens = append(texts, ""), append(finish, ""), append(tokens, nil)
		}
		texts[e.Choice] += e.Text
		finish[e.Choice] += e.Finish
		tokens[e.Choice] = append(tokens[e.Choice], e.Tokens...)
	}
}

// TestAnswer: an answer is that of a Generator, greedy and sampled.
func TestAnswer(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 1})
	for _, temperature := range []float64{0, 1} {
		r := request(t, model, "what color is the shape?")
		r.Sampling, r.Choices, r.LogProbs, r.TopLogProbs = generate.Sampling{Temperature: temperature, Seed: 5}, 2, true, 2
		a, err := s.Submit(t.Context(), r)
		require.NoError(t, err)
		texts, finish, tokens, err := read(t, a)
		if !errors.Is(err, io.EOF) || len(texts) != 2 {
			t.Fatalf("%d choices, %v", len(texts), err)
		}
		g := generate.New(model)
		for i := range texts {
			want, err := g.Generate(t.Context(), r.Prompt, nil, generate.Options{MaxNewTokens: 8, Sampling: generate.Sampling{Temperature: temperature, Seed: 5 + uint64(i)}})
			require.NoError(t, err)
			if text := model.Processor.Tokenizer.Decode(want.IDs, true); texts[i] != text || finish[i] != "length" {
				t.Errorf("choice %d: %q, %s; want %q", i, texts[i], finish[i], text)
			}
			var ids []int32
			for _, token := range tokens[i] {
				ids = append(ids, token.ID)
			}
			if !slices.Equal(ids, want.IDs) || len(tokens[i][0].Top) != 2 {
				t.Errorf("choice %d: tokens %v, want %v", i, ids, want.IDs)
			}
		}
		g.Close()
		if u := a.Usage(); u.PromptTokens != len(r.Prompt.IDs) || u.CompletionTokens != 16 || u.Decode == 0 {
			t.Errorf("%+v", u)
		}
	}
	if got := s.Stats(); got.CacheTokens != 0 || got.CacheCapacity == 0 || got.Queued+got.Running != 0 || got.MemoryBytes == 0 {
		t.Errorf("%+v", got)
	}
}

// TestStop: text ends before the first stop text, even one within or across tokens, and its tokens too.
func TestStop(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 1})
	r := request(t, model, "what color is the shape?")
	a, err := s.Submit(t.Context(), r)
	require.NoError(t, err)
	texts, _, _, _ := read(t, a)
	whole := texts[0]
	for lo := range len(whole) {
		stop := whole[lo:min(lo+4, len(whole))]
		if !strings.Contains(whole, stop) || strings.Contains(stop, "\uFFFD") {
			continue
		}
		r.Stop, r.LogProbs = []string{"nowhere", stop}, true
		a, err := s.Submit(t.Context(), r)
		require.NoError(t, err)
		got, finish, tokens, _ := read(t, a)
		want, _, _ := strings.Cut(whole, stop)
		var bytes []byte
		for _, token := range tokens[0] {
			bytes = append(bytes, token.Bytes...)
		}
		if got[0] != want || finish[0] != "stop" || !strings.HasPrefix(string(bytes), want) {
			t.Errorf("stop at %q: %q, %s, tokens %q; want %q", stop, got[0], finish[0], bytes, want)
		}
	}
}

// TestStopAtEnd: a stop text in what is only sent at the end, half a character, ends the answer too.
func TestStopAtEnd(t *testing.T) {
	model := vlmtest.Model(t, cpu.Open(1), packing.Document)
	half := int32(-1)
	for id := range int32(model.Processor.Tokenizer.Len()) {
		if string(model.Processor.Tokenizer.Bytes(id)) == "\xc3" {
			half = id
		}
	}
	a := NewAnswer()
	w := newWriter(&Request{Stop: []string{"\uFFFD"}}, 0, a, model.Processor)
	if half < 0 || !w.token(generate.Token{ID: half}) {
		t.Fatalf("token %d is no half of a character", half)
	}
	w.finish("length")
	if e, err := a.Next(t.Context()); err != nil || e.Text != "" || e.Finish != "stop" {
		t.Errorf("%+v, %v", e, err)
	}
}

// gate is a Constraint that lets tokens through when it is told to.
type gate struct{ begun, open chan struct{} }

func newGate() gate { return gate{make(chan struct{}, 100), make(chan struct{})} }

func (g gate) Mask([]float32) bool {
	g.begun <- struct{}{}
	<-g.open
	return true
}
func (g gate) Accept(int32) {}

// held submits a request that is being answered until the gate opens.
func held(t *testing.T, s *Batched, r Request) (*Answer, gate, context.CancelFunc) {
	t.Helper()
	g := newGate()
	r.Constraint = func() generate.Constraint { return g }
	ctx, cancel := context.WithCancel(t.Context())
	a, err := s.Submit(ctx, r)
	require.NoError(t, err)
	<-g.begun
	return a, g, cancel
}

// joined returns what was sent on a channel.
func joined(names chan string) string {
	close(names)
	var all []string
	for name := range names {
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// TestFair: clients take turns, whoever came first, and several answers of one request with other requests.
func TestFair(t *testing.T) {
	for _, c := range []struct {
		requests string // the first letter is the client
		choices  int    // of the first request
		want     string
	}{
		{"a1 a2 a3 b1 b2 c1", 1, "a1 b1 c1 a2 b2 a3"},
		{"a1 b1 c1 b2", 4, "a1 a1 b1 a1 c1 a1 b2"},
	} {
		s, model := scheduler(t, Options{Parallel: 1, Queue: 20})
		r := request(t, model, "what color is the shape?")
		_, g, cancel := held(t, s, r)
		defer cancel()
		order := make(chan string, 20)
		var answers []*Answer
		for i, name := range strings.Fields(c.requests) {
			one := r
			if one.Client, one.MaxNewTokens = name[:1], 1; i == 0 {
				one.Choices = c.choices
			}
			one.Constraint = func() generate.Constraint {
				order <- name
				return nil
			}
			a, err := s.Submit(t.Context(), one)
			require.NoError(t, err)
			answers = append(answers, a)
		}
		close(g.open)
		for _, a := range answers {
			if _, _, _, err := read(t, a); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if got := joined(order); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// TestFull: a full queue is an error; a client with many requests makes room for one with few.
func TestFull(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 3})
	r := request(t, model, "what color is the shape?")
	_, g, cancel := held(t, s, r)
	defer cancel()
	var answers []*Answer
	for range 3 {
		a, err := s.Submit(t.Context(), r)
		require.NoError(t, err)
		answers = append(answers, a)
	}
	var busy *BusyError
	if _, err := s.Submit(t.Context(), r); !errors.As(err, &busy) || busy.RetryAfter < time.Second {
		t.Errorf("%v, want a BusyError", err)
	}
	r.Client = "b"
	b, err := s.Submit(t.Context(), r)
	require.NoError(t, err)
	if _, err := answers[2].Next(t.Context()); !errors.As(err, &busy) {
		t.Errorf("the newest request of the first client: %v, want a BusyError", err)
	}
	if _, err := s.Submit(t.Context(), r); !errors.As(err, &busy) {
		t.Errorf("a second request of the other client: %v, want a BusyError", err)
	}
	close(g.open)
	for _, a := range []*Answer{answers[0], answers[1], b} {
		if _, _, _, err := read(t, a); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

// TestCancel: a client that leaves frees its place, waiting or not.
func TestCancel(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 1})
	r := request(t, model, "what color is the shape?")
	first, g, cancelFirst := held(t, s, r)
	ctx, cancel := context.WithCancel(t.Context())
	waiting, err := s.Submit(ctx, r)
	require.NoError(t, err)
	cancel()
	if _, err := waiting.Next(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("while it waits: %v", err)
	}
	if n := s.Stats().Queued; n != 0 {
		t.Errorf("%d wait", n)
	}
	cancelFirst()
	close(g.open)
	if _, _, _, err := read(t, first); !errors.Is(err, context.Canceled) {
		t.Errorf("while it is answered: %v", err)
	}
	last, err := s.Submit(t.Context(), r)
	require.NoError(t, err)
	if _, _, _, err := read(t, last); !errors.Is(err, io.EOF) {
		t.Errorf("after them: %v", err)
	}
}

// TestContext: a prompt that does not fit is an error before it is generated, and an answer ends where
// the context does.
func TestContext(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 1, Context: 24})
	r := request(t, model, "what color is the shape?")
	r.MaxNewTokens = 0
	a, err := s.Submit(t.Context(), r)
	require.NoError(t, err)
	if _, finish, _, _ := read(t, a); finish[0] != "length" || a.Usage().CompletionTokens != 24-len(r.Prompt.IDs) {
		t.Errorf("%v, %+v", finish, a.Usage())
	}
	r = request(t, model, strings.Repeat("what color is the shape? ", 10))
	var full *generate.ContextError
	if _, err := s.Submit(t.Context(), r); !errors.As(err, &full) || full.Context != 24 {
		t.Errorf("%v, want a ContextError", err)
	}
}

// lost is a device that compiles nothing.
type lost struct{ engine.Device }

func (lost) Compile(*engine.Plan, []engine.Memory) (engine.Executable, error) {
	return nil, fmt.Errorf("compiling: %w", engine.ErrDeviceLost)
}

// TestDeviceLost: a lost device is an error of the request under way; the next one is answered on a
// device that is opened again, or told that there is none.
func TestDeviceLost(t *testing.T) {
	model := vlmtest.Model(t, cpu.Open(1), packing.Document)
	broken := *model
	broken.Device = lost{model.Device}
	attempts := 0
	s, err := NewBatched(&broken, Options{Parallel: 4, Queue: 4, Reopen: func() (*vlm.Runner, error) {
		if attempts++; attempts <= 2 {
			return nil, errors.New("no device yet")
		}
		return model, nil
	}})
	require.NoError(t, err)
	defer s.Close()
	r := request(t, model, "what color is the shape?")
	for i, want := range []error{engine.ErrDeviceLost, ErrUnavailable, io.EOF, io.EOF} {
		a, err := s.Submit(t.Context(), r)
		require.NoError(t, err)
		if _, _, _, err := read(t, a); !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
	}
	if n := s.Stats().Restarts; n != 1 {
		t.Errorf("%d restarts, want 1", n)
	}
}

// fleeting is a device that is lost as memory is allocated.
type fleeting struct{ engine.Device }

func (fleeting) Allocate(int64, string) (engine.Memory, error) {
	return nil, fmt.Errorf("allocating: %w", engine.ErrDeviceLost)
}

// TestDeviceLostAtFirst: a device that is lost before anything is generated is opened again.
func TestDeviceLostAtFirst(t *testing.T) {
	model := vlmtest.Model(t, cpu.Open(1), packing.Document)
	broken := *model
	broken.Device = fleeting{model.Device}
	s, err := NewBatched(&broken, Options{Parallel: 4, Queue: 4, Reopen: func() (*vlm.Runner, error) { return model, nil }})
	require.NoError(t, err)
	defer s.Close()
	a, err := s.Submit(t.Context(), request(t, model, "what color is the shape?"))
	require.NoError(t, err)
	if _, _, _, err := read(t, a); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestDeadline: a request whose time is over while it waits is told so.
func TestDeadline(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 1})
	r := request(t, model, "what color is the shape?")
	_, g, cancel := held(t, s, r)
	defer cancel()
	defer close(g.open)
	ctx, over := context.WithTimeout(t.Context(), time.Millisecond)
	defer over()
	a, err := s.Submit(ctx, r)
	require.NoError(t, err)
	if _, err := a.Next(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// broken is a Constraint with a fault.
type broken struct{}

func (broken) Mask([]float32) bool { panic("a fault") }
func (broken) Accept(int32)        {}

// brokenEnd is a Constraint with a fault at the end of the answer.
type brokenEnd struct{}

func (brokenEnd) Mask([]float32) bool { return false }
func (brokenEnd) Accept(int32)        {}
func (brokenEnd) Ended() bool         { panic("a fault") }

// TestFault: a panic is an error of its request alone.
func TestFault(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 1, Queue: 1})
	for name, constraint := range map[string]func() generate.Constraint{
		"in a token": func() generate.Constraint { return broken{} }, "at the end": func() generate.Constraint { return brokenEnd{} },
		"at the start": func() generate.Constraint { panic("a fault") },
	} {
		r := request(t, model, "what color is the shape?")
		r.Constraint = constraint
		a, err := s.Submit(t.Context(), r)
		require.NoError(t, err)
		if _, _, _, err := read(t, a); err == nil || !strings.Contains(err.Error(), "a fault") {
			t.Errorf("%s: %v", name, err)
		}
		r.Constraint = nil
		a, err = s.Submit(t.Context(), r)
		require.NoError(t, err)
		if _, _, _, err := read(t, a); !errors.Is(err, io.EOF) {
			t.Errorf("after one %s: %v", name, err)
		}
	}
}

// TestClose: all answers end, and no goroutine stays.
func TestClose(t *testing.T) {
	model := vlmtest.Model(t, cpu.Open(1), packing.Document)
	before := runtime.NumGoroutine()
	s, err := NewBatched(model, Options{Parallel: 1, Queue: 4})
	require.NoError(t, err)
	r := request(t, model, "what color is the shape?")
	first, g, cancel := held(t, s, r)
	defer cancel()
	waiting, err := s.Submit(t.Context(), r)
	require.NoError(t, err)
	go func() {
		for s.closed.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		close(g.open)
	}()
	s.Close()
	for _, a := range []*Answer{first, waiting} {
		if _, _, _, err := read(t, a); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}
	if _, err := s.Submit(t.Context(), r); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, want %d", runtime.NumGoroutine(), before)
		}
	}
}

// TestObserve: the answer to a request with a known answer is its attention, beside other answers, and counts
// as read tokens.
func TestObserve(t *testing.T) {
	s, model := scheduler(t, Options{Parallel: 2, Queue: 4, Context: 200})
	prompt, err := model.Processor.Messages([]chat.Message{{Role: "user", Content: "what color is the shape?", Images: 1}}, chat.Options{AddGenerationPrompt: true})
	require.NoError(t, err)
	images, known := [][]byte{vlmtest.Pixels(t, 0)}, vlmtest.PlainIDs(model.Processor.Tokenizer, "a red circle")
	beside, err := s.Submit(t.Context(), request(t, model, "what color is the shape?"))
	require.NoError(t, err)
	var ended Usage
	r := Request{Client: "b", Prompt: prompt, Images: images, Observe: known, Ended: func(u Usage) { ended = u }}
	a, err := s.Submit(t.Context(), r)
	require.NoError(t, err)
	e, err := a.Next(t.Context())
	require.NoError(t, err)
	if len(e.Attention) != len(known) || len(e.Attention[0].Patches) != model.Config.Vision.Patches() || e.Text != "" || e.Finish != "stop" {
		t.Errorf("%d maps, %q, %s; want one for each of %d tokens", len(e.Attention), e.Text, e.Finish, len(known))
	}
	if _, err := a.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after it: %v", err)
	}
	if u := a.Usage(); u.PromptTokens != len(prompt.IDs)+len(known) || u.CompletionTokens != 0 || u.FirstToken != 0 || ended != u {
		t.Errorf("%+v, and at its end %+v", u, ended)
	}
	if _, _, _, err := read(t, beside); !errors.Is(err, io.EOF) || beside.Usage().CompletionTokens != 8 {
		t.Errorf("the answer beside it: %v, %+v", err, beside.Usage())
	}
	var full *generate.ContextError
	r.Observe = make([]int32, 200)
	if _, err := s.Submit(t.Context(), r); !errors.As(err, &full) {
		t.Errorf("an answer as long as the context: %v", err)
	}
	r.Observe, r.Images = known, nil
	if a, err = s.Submit(t.Context(), r); err == nil {
		_, err = a.Next(t.Context())
	}
	if err == nil {
		t.Error("no error without the image")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Images = images
	a, err = s.Submit(ctx, r)
	require.NoError(t, err)
	if _, err := a.Next(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("whose client has left: %v", err)
	}
}
