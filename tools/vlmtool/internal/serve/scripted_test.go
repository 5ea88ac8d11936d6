package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/serve"
)

// scripted is a Scheduler that answers with given events.
type scripted struct {
	refuse error         // of Submit
	events []serve.Event // of every answer
	err    error         // after them; nil: the answer is complete
	waits  bool          // until the client leaves, instead of an end
	got    serve.Request
	begun  chan struct{} // closed by Submit
	left   chan struct{} // closed when the client has left
	lost   bool

	attention []generate.AttentionMap // the answer to Request.Observe
	observed  []serve.Request
}

func (s *scripted) Submit(ctx context.Context, r serve.Request) (*serve.Answer, error) {
	if s.got = r; s.refuse != nil {
		return nil, s.refuse
	}
	a := serve.NewAnswer()
	if r.Observe != nil && s.attention != nil {
		s.observed = append(s.observed, r)
		a.Add(serve.Event{Attention: s.attention[:len(r.Observe)], Finish: "stop"})
		a.End(serve.Usage{}, nil)
		return a, nil
	}
	for _, e := range s.events {
		a.Add(e)
	}
	if !s.waits {
		a.End(serve.Usage{PromptTokens: 3, CompletionTokens: len(s.events)}, s.err)
		return a, nil
	}
	close(s.begun)
	context.AfterFunc(ctx, func() {
		a.End(serve.Usage{}, ctx.Err())
		close(s.left)
	})
	return a, nil
}

func (s *scripted) Stats() serve.Stats { return serve.Stats{Lost: s.lost} }
func (s *scripted) Context() int       { return 1000 }
func (s *scripted) Close()             {}

// TestErrors: errors of the scheduler have the status and the code of OpenAI's API; in a stream that
// has begun they are its last event.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{&serve.BusyError{RetryAfter: 1500 * time.Millisecond}, 429, "rate_limit_exceeded"},
		{engine.ErrDeviceLost, 503, "device_lost"},
		{fmt.Errorf("prefill: %w", engine.ErrOutOfMemory), 503, "out_of_memory"},
		{generate.ErrNoToken, 400, "response_format"}, // a client need not try again
		{serve.ErrUnavailable, 503, "unavailable"},
		{serve.ErrClosed, 503, "unavailable"},
		{context.DeadlineExceeded, 504, "timeout"},
		{errors.New("something else"), 500, "something else"},
	} {
		text := serve.Event{Text: "red"}
		for _, script := range []*scripted{{refuse: c.err}, {err: c.err}, {events: []serve.Event{text}, err: c.err}} {
			s := serveBy(small(), script)
			w := s.send("POST", chatPath, also(`"n":1`))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%v: %d %s, want %d", c.err, w.Code, w.Body, c.status)
			}
			if after := w.Header().Get("Retry-After"); c.status == 429 && after != "2" {
				t.Errorf("Retry-After %q, want 2", after)
			}
			w = s.send("POST", chatPath, also(`"stream":true`))
			if script.events == nil {
				if w.Code != c.status || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%v: a stream that has not begun: %d %s", c.err, w.Code, w.Body)
				}
				continue
			}
			chunks, done := events(t, w.Body)
			if last := chunks[len(chunks)-1]; done || last.at("error", "message") == nil {
				t.Errorf("%v: a stream that has begun: %v, %v", c.err, last, done)
			}
		}
	}
	if w := serveBy(small(), &scripted{lost: true}).send("GET", "/health", ""); w.Code != 503 {
		t.Errorf("without a device: %d %s", w.Code, w.Body)
	}
}

// faulty is a Scheduler with a fault.
type faulty struct{ scripted }

func (*faulty) Submit(context.Context, serve.Request) (*serve.Answer, error) { panic("a fault") }

// TestFault: a panic is an error of its request.
func TestFault(t *testing.T) {
	stream := &scripted{events: []serve.Event{{Text: "red"}, {Choice: 1}}} // there is no choice 1
	for _, c := range []struct {
		scheduler serve.Scheduler
		body      string
		status    int
	}{
		{&faulty{}, also(`"n":1`), 500},
		{stream, also(`"n":1`), 500},
		{stream, also(`"stream":true`), 200}, // the stream has begun
	} {
		w := serveBy(small(), c.scheduler).send("POST", chatPath, c.body)
		if text := w.Body.String(); w.Code != c.status || !strings.Contains(text, "internal error") || strings.Contains(text, "DONE") {
			t.Errorf("%d %s, want %d", w.Code, text, c.status)
		}
	}
}

// TestReasoning: reasoning is told from the answer.
func TestReasoning(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "hm, ", Reasoning: true}, {Text: "well", Reasoning: true}, {Text: "red<b>", Finish: "stop"}}}
	s := serveBy(small(), script)
	w := s.send("POST", chatPath, also(`"chat_template_kwargs":{"enable_thinking":true}`))
	if !strings.Contains(w.Body.String(), `"content":"red\u003cb\u003e","reasoning_content":"hm, well"`) {
		t.Errorf("%s", w.Body)
	}
	chunks, _ := events(t, s.send("POST", chatPath, also(`"stream":true`)).Body)
	if chunks[1].at("choices", 0, "delta", "reasoning_content") != "hm, well" || chunks[2].at("choices", 0, "delta", "content") != "red<b>" {
		t.Errorf("%v", chunks)
	}
}

const toolTemplate = `{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}{% for m in messages %}{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}
{% endfor %}`

// withTools is a model whose template knows tools.
func withTools(t *testing.T) *vlm.Runner {
	t.Helper()
	runner := *newModel(t, "shapes", packing.InConversation)
	template, err := chat.Parse(toolTemplate, nil)
	require.NoError(t, err)
	runner.Processor, err = vlm.NewProcessor(runner.Processor.Tokenizer, template, 0, nil)
	require.NoError(t, err)
	return &runner
}

// TestTools: the template is told of tools, and their calls are told from the answer.
func TestTools(t *testing.T) {
	runner := withTools(t)
	tools := `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]`
	call := func(name, arguments string) string {
		return "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": " + arguments + "}\n</tool_call>"
	}
	for _, c := range []struct {
		name, text string
		calls      [][2]string
		content    any
	}{
		{"none", "it is sunny", nil, "it is sunny"},
		{"one", call("weather", `{"city": "Rome"}`), [][2]string{{"weather", `{"city": "Rome"}`}}, nil},
		{"two after text", "I ask.\n" + call("weather", `{"a":1}`) + "\n" + call("time", `{}`), [][2]string{{"weather", `{"a":1}`}, {"time", "{}"}}, "I ask."},
		{"arguments as text", call("weather", `"{\"a\":1}"`), [][2]string{{"weather", `{"a":1}`}}, nil},
		{"no JSON", "<tool_call>weather</tool_call>", nil, "<tool_call>weather</tool_call>"},
		{"cut off", "<tool_call>{\"name\": \"wea", nil, "<tool_call>{\"name\": \"wea"},
		{"a tag that is none", "a <tool_cabinet> <tool", nil, "a <tool_cabinet> <tool"},
	} {
		script := &scripted{}
		for _, b := range c.text { // in small pieces
			script.events = append(script.events, serve.Event{Text: string(b)})
		}
		script.events = append(script.events, serve.Event{Finish: "stop"})
		s := serveBy(runner, script)
		var got object
		require.NoError(t, json.Unmarshal(s.send("POST", chatPath, also(tools)).Body.Bytes(), &got))
		chunks, _ := events(t, s.send("POST", chatPath, also(tools+`,"stream":true`)).Body)
		streamed, last, text := []any{}, chunks[len(chunks)-1], ""
		for _, chunk := range chunks {
			part, _ := chunk.at("choices", 0, "delta", "content").(string)
			text += part
			if one := chunk.at("choices", 0, "delta", "tool_calls", 0); one != nil {
				streamed = append(streamed, one)
			}
		}
		if got.at("choices", 0, "message", "content") != c.content || got.at("choices", 0, "message", "tool_calls", len(c.calls)) != nil {
			t.Errorf("%s: %v", c.name, got)
		}
		if want := fmt.Sprint(c.content); c.content != nil && strings.TrimSpace(text) != want {
			t.Errorf("%s: streamed %q, want %q", c.name, text, want)
		}
		finish := any("stop")
		if c.calls != nil {
			finish = "tool_calls"
		}
		if got.at("choices", 0, "finish_reason") != finish || last.at("choices", 0, "finish_reason") != finish || len(streamed) != len(c.calls) {
			t.Errorf("%s: %v, streamed %v, %v", c.name, got, streamed, last)
			continue
		}
		for i, want := range c.calls {
			one := object(got.at("choices", 0, "message", "tool_calls", i).(map[string]any))
			stream := object(streamed[i].(map[string]any))
			if one.at("function", "name") != want[0] || one.at("function", "arguments") != want[1] || one.at("id") == "" || one.at("index") != nil {
				t.Errorf("%s: call %d: %v, want %v", c.name, i, one, want)
			}
			if stream.at("function", "name") != want[0] || stream.at("function", "arguments") != want[1] || stream.at("index") != float64(i) {
				t.Errorf("%s: call %d: streamed %v, want %v", c.name, i, stream, want)
			}
		}
	}
	script := &scripted{events: []serve.Event{{Text: "sunny", Finish: "stop"}}}
	s := serveBy(runner, script)
	w := s.send("POST", chatPath, `{"messages":[{"role":"user","content":"weather?"},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Rome\"}"}}]},
		{"role":"tool","tool_call_id":"c","content":"20 degrees"}],`+tools+`}`)
	prompt := runner.Processor.Tokenizer.Decode(script.got.Prompt.IDs, false)
	for _, want := range []string{`"name": "weather", "parameters"`, `<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>`, "tool:20 degrees"} {
		if w.Code != 200 || !strings.Contains(prompt, want) {
			t.Errorf("%d %s: the prompt has no %q: %q", w.Code, w.Body, want, prompt)
		}
	}
}

// TestCancel: the scheduler learns that a client has left.
func TestCancel(t *testing.T) {
	for _, c := range [][2]string{
		{chatPath, also(`"stream":true`)}, {chatPath, also(`"stream":false`)}, {attentionPath, answered(jsonOf([]object{imagePart(red)}), `"red"`)},
	} {
		script := &scripted{waits: true, begun: make(chan struct{}), left: make(chan struct{})}
		s := serveBy(small(), script)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", "http://localhost"+c[0], strings.NewReader(c[1]))
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.handler.ServeHTTP(discard{}, r)
		}()
		<-script.begun
		cancel()
		for _, end := range []chan struct{}{script.left, done} {
			select {
			case <-end:
			case <-time.After(10 * time.Second):
				t.Fatal("the request goes on")
			}
		}
	}
}

// discard is a client that has left.
type discard struct{}

func (discard) Header() http.Header       { return http.Header{} }
func (discard) Write([]byte) (int, error) { return 0, errGone }
func (discard) WriteHeader(int)           {}

// TestClients: clients are told apart by their keys, or by their addresses.
func TestClients(t *testing.T) {
	script := &scripted{events: []serve.Event{{Text: "red", Finish: "stop"}}}
	serveBy(small(), script).send("POST", chatPath, also(`"n":1`))
	if script.got.Client != "192.0.2.1" {
		t.Errorf("%q", script.got.Client)
	}
	s := serveBy(small(), script, "a", "b")
	s.send("POST", chatPath, also(`"n":1`), "Authorization", "Bearer b")
	if first := script.got.Client; first != "key 1" {
		t.Errorf("%q", first)
	}
}
