package serve

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/internal/require"
	"patchwork/tools/internal/listen"
	"patchwork/vlm/serve"
)

const chatPath, textPath = "/v1/chat/completions", "/v1/completions"

// pngBomb is the header of a PNG of so many pixels.
func pngBomb(width, height uint32) string {
	header := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + string([]byte{byte(width >> 24), byte(width >> 16), byte(width >> 8), byte(width), byte(height >> 24), byte(height >> 16), byte(height >> 8), byte(height)}) + "\x08\x02\x00\x00\x00"
	return base64.StdEncoding.EncodeToString([]byte(header + "\x00\x00\x00\x00"))
}

// user is a conversation of one message with a content, which is JSON.
func user(content string) string {
	return `{"messages":[{"role":"user","content":` + content + `}],"max_tokens":2}`
}

// also is a valid request with more fields.
func also(fields string) string {
	return `{"messages":[{"role":"user","content":"hi"}],"max_tokens":2,` + fields + `}`
}

func pictured(url string) string {
	return user(`[{"type":"image_url","image_url":{"url":` + fmt.Sprintf("%q", url) + `}}]`)
}

// hostile are requests that are refused, with the status and a part of the error.
var hostile = []struct {
	name, path, body string
	status           int
	want             string // in the body
	header           []string
}{
	{"nothing", chatPath, "", 400, "parse", nil},
	{"not JSON", chatPath, "hello", 400, "parse", nil},
	{"truncated", chatPath, `{"messages":[{"role":"us`, 400, "parse", nil},
	{"more than a value", chatPath, also(`"n":1`) + `{}`, 400, "parse", nil},
	{"an array", chatPath, `[]`, 400, "parse", nil},
	{"null", chatPath, `null`, 400, "parse", nil},
	{"a string", chatPath, `"messages"`, 400, "parse", nil},
	{"zeros", chatPath, strings.Repeat("\x00", 1000), 400, "parse", nil},
	{"brackets", chatPath, strings.Repeat("[", 100_000), 400, "parse", nil},
	{"nested objects", chatPath, strings.Repeat(`{"a":`, 100_000), 400, "parse", nil},
	{"NaN", chatPath, also(`"temperature":NaN`), 400, "parse", nil},
	{"no messages", chatPath, `{}`, 400, `"param":"messages"`, nil},
	{"null messages", chatPath, `{"messages":null}`, 400, `"param":"messages"`, nil},
	{"empty messages", chatPath, `{"messages":[]}`, 400, "empty_array", nil},
	{"messages are a string", chatPath, `{"messages":"hi"}`, 400, "expected an array", nil},
	{"messages are numbers", chatPath, `{"messages":[1]}`, 400, `"param":"messages"`, nil},
	{"many messages", chatPath, `{"messages":[` + strings.Repeat(`{"role":"user","content":"x"},`, 2000) + `{"role":"user","content":"x"}]}`, 400, "array_above_max_length", nil},
	{"no role", chatPath, `{"messages":[{"content":"hi"}]}`, 400, "messages[0].role", nil},
	{"a wrong role", chatPath, `{"messages":[{"role":"root","content":"hi"}]}`, 400, "messages[0].role", nil},
	{"a role of control tokens", chatPath, `{"messages":[{"role":"<|end|>","content":"hi"}]}`, 400, "messages[0].role", nil},
	{"a role that is a number", chatPath, `{"messages":[{"role":3,"content":"hi"}]}`, 400, "messages.role", nil},
	{"no content", chatPath, `{"messages":[{"role":"user"}]}`, 400, "messages[0].content", nil},
	{"null content", chatPath, user(`null`), 400, "messages[0].content", nil},
	{"content is a number", chatPath, user(`7`), 400, "expected a string or an array", nil},
	{"content is an object", chatPath, user(`{"text":"hi"}`), 400, "expected a string or an array", nil},
	{"parts are strings", chatPath, user(`["hi"]`), 400, "expected a string or an array", nil},
	{"a wrong part", chatPath, user(`[{"type":"video","video":{}}]`), 400, "messages[0].content[0].type", nil},
	{"a part without text", chatPath, user(`[{"type":"text"}]`), 400, "messages[0].content[0].text", nil},
	{"a file of the machine", chatPath, user(`[{"type":"file","file":{"file_data":"file:///etc/passwd"}}]`), 400, "invalid_value", nil},
	{"an error in the second message", chatPath, `{"messages":[{"role":"user","content":"hi"},{"role":"user","content":3}]}`, 400, "messages[1].content", nil},

	{"a URL", chatPath, pictured("http://127.0.0.1:1/x.png"), 400, "fetches nothing", nil},
	{"a secure URL", chatPath, pictured("https://example.com/x.png"), 400, "fetches nothing", nil},
	{"a file URL", chatPath, pictured("file:///etc/passwd"), 400, "fetches nothing", nil},
	{"a path", chatPath, pictured("/etc/passwd"), 400, "fetches nothing", nil},
	{"an empty URL", chatPath, pictured(""), 400, "fetches nothing", nil},
	{"a data URL without data", chatPath, pictured("data:image/png;base64"), 400, "invalid_image_url", nil},
	{"a data URL of text", chatPath, pictured("data:text/html;base64,AAAA"), 400, "invalid_image_url", nil},
	{"a data URL without base64", chatPath, pictured("data:image/png,abc"), 400, "invalid_image_url", nil},
	{"wrong base64", chatPath, pictured("data:image/png;base64,@@@@"), 400, "invalid_base64", nil},
	{"truncated base64", chatPath, pictured("data:image/png;base64,iVBOR"), 400, "invalid_base64", nil},
	{"an empty image", chatPath, pictured("data:image/png;base64,"), 400, "invalid_image", nil},
	{"no image", chatPath, pictured("data:image/png;base64,aGVsbG8="), 400, "invalid_image", nil},
	{"an SVG", chatPath, pictured("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`))), 400, "invalid_image", nil},
	{"a bomb", chatPath, pictured("data:image/png;base64," + pngBomb(1<<30, 1<<30)), 400, "invalid_image", nil},
	{"a large image without its pixels", chatPath, pictured("data:image/png;base64," + pngBomb(8000, 8000)), 400, "invalid_image", nil},
	{"a truncated image", chatPath, pictured("data:image/png;base64," + pngBomb(64, 64)), 400, "invalid_image", nil},
	{"image_url is a string", chatPath, user(`[{"type":"image_url","image_url":"data:image/png;base64,AA=="}]`), 400, "expected a string or an array", nil},
	{"no image_url", chatPath, user(`[{"type":"image_url"}]`), 400, "image_url.url", nil},
	{"an image of the system", chatPath, `{"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]}`, 400, "only messages of the user", nil},
	{"many images", chatPath, user(`[` + strings.TrimSuffix(strings.Repeat(jsonOf(imagePart(red))+",", maxImages+1), ",") + `]`), 400, "context_length_exceeded", nil},
	{"sound for a model without", chatPath, user(`[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]`), 400, "takes no sound", nil},

	{"another model", chatPath, also(`"model":"gpt-4o"`), 404, "model_not_found", nil},
	{"a model that is a path", chatPath, also(`"model":"../../etc/passwd"`), 404, "model_not_found", nil},
	{"a model that is a number", chatPath, also(`"model":3`), 400, `"param":"model"`, nil},
	{"negative max_tokens", chatPath, also(`"max_completion_tokens":-1`), 400, "max_completion_tokens", nil},
	{"max_tokens 0", chatPath, `{"messages":[{"role":"user","content":"hi"}],"max_tokens":0}`, 400, "max_tokens", nil},
	{"huge max_tokens", chatPath, `{"messages":[{"role":"user","content":"hi"}],"max_tokens":99999999999999999999}`, 400, "max_tokens", nil},
	{"max_tokens is a fraction", chatPath, `{"messages":[{"role":"user","content":"hi"}],"max_tokens":1.5}`, 400, "max_tokens", nil},
	{"max_tokens is a text", chatPath, `{"messages":[{"role":"user","content":"hi"}],"max_tokens":"many"}`, 400, "max_tokens", nil},
	{"temperature above 2", chatPath, also(`"temperature":2.1`), 400, "temperature", nil},
	{"negative temperature", chatPath, also(`"temperature":-1`), 400, "temperature", nil},
	{"huge temperature", chatPath, also(`"temperature":1e999`), 400, "temperature", nil},
	{"temperature is a text", chatPath, also(`"temperature":"hot"`), 400, "temperature", nil},
	{"top_p above 1", chatPath, also(`"top_p":1.5`), 400, "top_p", nil},
	{"negative top_k", chatPath, also(`"top_k":-1`), 400, "top_k", nil},
	{"n 0", chatPath, also(`"n":0`), 400, `"param":"n"`, nil},
	{"many n", chatPath, also(`"n":1000000`), 400, `"param":"n"`, nil},
	{"seed is a text", chatPath, also(`"seed":"x"`), 400, "seed", nil},
	{"presence_penalty above 2", chatPath, also(`"presence_penalty":3`), 400, "presence_penalty", nil},
	{"repetition_penalty 0", chatPath, also(`"repetition_penalty":0`), 400, "repetition_penalty", nil},
	{"an empty stop", chatPath, also(`"stop":""`), 400, "stop", nil},
	{"many stops", chatPath, also(`"stop":["a","b","c","d","e"]`), 400, "stop", nil},
	{"stop is a number", chatPath, also(`"stop":3`), 400, "stop", nil},
	{"stop has a number", chatPath, also(`"stop":["a",3]`), 400, "stop", nil},
	{"a long stop", chatPath, also(`"stop":"` + strings.Repeat("x", 5000) + `"`), 400, "stop", nil},
	{"a bias of no token", chatPath, also(`"logit_bias":{"x":1}`), 400, "logit_bias", nil},
	{"a bias beyond the vocabulary", chatPath, also(`"logit_bias":{"999999":1}`), 400, "logit_bias", nil},
	{"a large bias", chatPath, also(`"logit_bias":{"5":1000}`), 400, "logit_bias", nil},
	{"many top_logprobs", chatPath, also(`"logprobs":true,"top_logprobs":21`), 400, "top_logprobs", nil},
	{"top_logprobs without logprobs", chatPath, also(`"top_logprobs":3`), 400, "top_logprobs", nil},
	{"logprobs is a number", chatPath, also(`"logprobs":3`), 400, "logprobs", nil},
	{"stream is a text", chatPath, also(`"stream":"yes"`), 400, "stream", nil},
	{"stream_options without stream", chatPath, also(`"stream_options":{"include_usage":true}`), 400, "stream_options", nil},
	{"sound is wanted", chatPath, also(`"modalities":["text","audio"]`), 400, "modalities", nil},
	{"a wrong format", chatPath, also(`"response_format":{"type":"xml"}`), 400, "response_format.type", nil},
	{"format is a text", chatPath, also(`"response_format":"json"`), 400, "response_format", nil},
	{"no schema", chatPath, also(`"response_format":{"type":"json_schema"}`), 400, "response_format.json_schema", nil},
	{"an unsupported keyword", chatPath, also(`"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"string","pattern":"(a+)+$"}}}`), 400, `\"pattern\"`, nil},
	{"a schema of itself", chatPath, also(`"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"#"}}}`), 400, "itself", nil},
	{"a schema elsewhere", chatPath, also(`"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"file:///etc/passwd"}}}`), 400, "$ref", nil},
	{"a deep schema", chatPath, also(`"response_format":{"type":"json_schema","json_schema":{"schema":` + strings.Repeat(`{"items":`, 200) + `{}` + strings.Repeat(`}`, 200) + `}}`), 400, "deep", nil},
	{"tools for a model without", chatPath, also(`"tools":[{"type":"function","function":{"name":"f"}}]`), 400, "does not know tools", nil},
	{"tools are a text", chatPath, also(`"tools":"f"`), 400, `"param":"tools"`, nil},
	{"a tool without a name", chatPath, also(`"tools":[{"type":"function","function":{}}]`), 400, `"param":"tools"`, nil},
	{"a demanded tool", chatPath, also(`"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"`), 400, "tool_choice", nil},
	{"functions", chatPath, also(`"functions":[{"name":"f"}]`), 400, "use 'tools'", nil},
	{"a tool's answer", chatPath, `{"messages":[{"role":"tool","content":"3","tool_call_id":"x"}]}`, 400, "does not know tools", nil},
	{"a long prompt", chatPath, user(fmt.Sprintf("%q", strings.Repeat("what color is the shape? ", 5000))), 400, "context_length_exceeded", nil},
	{"a prompt of megabytes", chatPath, user(`"` + strings.Repeat("x", 5<<20) + `"`), 400, "string_above_max_length", nil},

	{"no prompt", textPath, `{}`, 400, "prompt", nil},
	{"an empty prompt", textPath, `{"prompt":""}`, 400, "empty", nil},
	{"no prompts", textPath, `{"prompt":[]}`, 400, "prompt", nil},
	{"many prompts", textPath, `{"prompt":[` + strings.Repeat(`"a",`, 100) + `"a"]}`, 400, "prompt", nil},
	{"prompts of two types", textPath, `{"prompt":["a",3]}`, 400, "prompt", nil},
	{"a prompt of unknown tokens", textPath, `{"prompt":[999999]}`, 400, "there is no token", nil},
	{"a prompt of negative tokens", textPath, `{"prompt":[[-1]]}`, 400, "there is no token", nil},
	{"a long text prompt", textPath, `{"prompt":"` + strings.Repeat("what color ", 10000) + `"}`, 400, "context_length_exceeded", nil},
	{"echo", textPath, `{"prompt":"a","echo":true}`, 400, "echo", nil},
	{"best_of", textPath, `{"prompt":"a","best_of":4}`, 400, "best_of", nil},
	{"suffix", textPath, `{"prompt":"a","suffix":"b"}`, 400, "suffix", nil},
	{"many logprobs", textPath, `{"prompt":"a","logprobs":6}`, 400, "logprobs", nil},

	{"an unknown path", "/v1/embeddings", `{}`, 404, "Invalid URL", nil},
	{"a file of the server", "/v1/../../etc/passwd", ``, 307, "", nil},
	{"a file", "/etc/passwd", ``, 404, "Invalid URL", nil},
	{"a script", "/%3Cscript%3Ealert(1)%3C/script%3E", ``, 404, `\u003cscript`, nil},
	{"another host", chatPath, also(`"n":1`), 403, "forbidden", []string{"Host", "attacker.example:8080"}},
	{"another site's page", chatPath, also(`"n":1`), 403, "forbidden", []string{"Origin", "https://attacker.example"}},
	{"a page of no site", chatPath, also(`"n":1`), 403, "forbidden", []string{"Origin", "null"}},
	{"a compressed body", chatPath, "\x1f\x8b", 415, "Content-Encoding", []string{"Content-Encoding", "gzip"}},
}

func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestHostile: every wrong request is refused as OpenAI's API does, in JSON, and the next one is
// answered.
func TestHostile(t *testing.T) {
	s := tiny(t)
	for _, c := range hostile {
		w := s.send("POST", c.path, c.body, c.header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %.300s; want %d, %q", c.name, w.Code, w.Body, c.status, c.want)
		}
		if c.status < 400 {
			continue
		}
		var body struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Message == "" || body.Error.Type != invalidRequest || len(body.Error.Message) > 1000 {
			t.Errorf("%s: %v: %.300s", c.name, err, w.Body)
		}
	}
	for _, c := range []struct{ method, path string }{{"GET", chatPath}, {"DELETE", textPath}, {"POST", "/v1/models"}, {"PUT", "/health"}, {"POST", "/"}, {"OPTIONS", chatPath}} {
		if w := s.send(c.method, c.path, ""); w.Code != 405 || w.Header().Get("Allow") == "" || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: %d %v", c.method, c.path, w.Code, w.Header())
		}
	}
	s.chat(t, question("what color is the shape?"))
	if left := s.bodies.left; left != maxBodies {
		t.Errorf("%d bytes of bodies are not given back", maxBodies-left)
	}
}

// TestWrongTypes gives every parameter, on both paths, a value of every type that it cannot have, and the
// request is refused with the parameter's name.
func TestWrongTypes(t *testing.T) {
	s := tiny(t)
	values := map[string]string{"boolean": "true", "string": `"x"`, "integer": "1", "fraction": "0.5", "array": "[true]", "object": `{"x":"y"}`}
	both := map[string][]string{ // the types that they can have
		"model": {"string"}, "max_tokens": {"integer"}, "temperature": {"integer", "fraction"}, "top_p": {"integer", "fraction"}, "top_k": {"integer"},
		"seed": {"integer"}, "stop": {"string"}, "n": {"integer"}, "stream": {"boolean"}, "stream_options": {"object"}, "presence_penalty": {"integer", "fraction"},
		"frequency_penalty": {"integer", "fraction"}, "repetition_penalty": {"integer", "fraction"}, "logit_bias": {}, "user": {"string"},
	}
	chat := map[string][]string{
		"messages": {}, "max_completion_tokens": {"integer"}, "logprobs": {"boolean"}, "top_logprobs": {"integer"}, "response_format": {}, "tools": {},
		"modalities": {}, "chat_template_kwargs": {"object"},
	}
	requests := 0
	try := func(path, rest string, parameters map[string][]string) {
		for name, can := range parameters {
			for kind, value := range values {
				if slices.Contains(can, kind) {
					continue
				}
				requests++
				w := s.send("POST", path, `{`+rest+fmt.Sprintf(`,%q:%s}`, name, value)) // of a name that is given twice, the last counts
				if w.Code != 400 && (name != "model" || w.Code != 404) || !strings.Contains(w.Body.String(), `"param":"`+name) {
					t.Errorf("%s, %s is %s: %d %.200s", path, name, value, w.Code, w.Body)
				}
			}
		}
	}
	try(chatPath, `"messages":[{"role":"user","content":"hi"}],"max_tokens":1`, both)
	try(chatPath, `"messages":[{"role":"user","content":"hi"}],"max_tokens":1`, chat)
	try(textPath, `"prompt":"hi","max_tokens":1`, both)
	if requests < 150 {
		t.Errorf("%d requests, want more", requests)
	}
	s.chat(t, question("what color is the shape?"))
}

// TestLargeBodies: a body above the limit is refused, and bodies that are too large together wait.
func TestLargeBodies(t *testing.T) {
	s := tiny(t)
	if w := s.send("POST", chatPath, strings.Repeat(" ", maxBody+1)); w.Code != 413 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.bodies.left = 3 * bodyPiece
	if w := s.send("POST", chatPath, strings.Repeat(" ", 4*bodyPiece)); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if s.bodies.left != 3*bodyPiece {
		t.Errorf("%d bytes are left", s.bodies.left)
	}
}

// TestLargeBodiesOfOne: one client's bodies leave others room for the largest.
func TestLargeBodiesOfOne(t *testing.T) {
	b := &newServer(model{}, &scripted{}, nil).bodies
	taken := int64(0)
	for b.take("a", bodyPiece) {
		taken += bodyPiece
	}
	if taken < maxBody || !b.take("b", maxBody) {
		t.Errorf("a client takes %d bytes, and %d are left for others", taken, b.left)
	}
	b.give("a", taken)
	b.give("b", maxBody)
	if b.left != maxBodies || len(b.taken) != 0 {
		t.Errorf("%d bytes are left, and %v taken", b.left, b.taken)
	}
}

// listening serves on a port.
func listening(t *testing.T, s *testServer, change func(*listen.Options)) (address string) {
	t.Helper()
	o := options(s.server, serve.Options{Parallel: 1, Queue: 8})
	change(&o)
	web, err := listen.Start("127.0.0.1:0", o)
	require.NoError(t, err)
	t.Cleanup(func() { web.Close() })
	return strings.TrimSuffix(strings.TrimPrefix(web.URL, "http://"), "/")
}

// TestConnections: requests that are cut off, slow, or several on a connection, over a socket.
func TestConnections(t *testing.T) {
	s := tiny(t)
	address := listening(t, s, func(o *listen.Options) { o.HeaderTimeout, o.ReadTimeout = 300*time.Millisecond, 300*time.Millisecond })
	body := also(`"temperature":0`)
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: "
	whole := fmt.Sprintf("%s%d\r\n\r\n%s", head, len(body), body)
	last := fmt.Sprintf("%s%d\r\nConnection: close\r\n\r\n%s", head, len(body), body)
	for _, c := range []struct {
		name, sends string
		answers     int // HTTP responses
		want        string
	}{
		{"a request", last, 1, "200 OK"},
		{"pipelined", whole + whole + last, 3, "200 OK"},
		{"a slow body", head + "100\r\n\r\n{", 1, "408 Request Timeout"},
		{"half a head", "POST /v1/chat/completions HTTP/1.1\r\nHost: x", 0, ""},
		{"no HTTP", "hello\r\n\r\n", 1, "400 Bad Request"},
		{"a negative length", head + "-1\r\n\r\n", 1, "400 Bad Request"},
		{"two lengths", head + "1\r\nContent-Length: 2\r\n\r\n{", 1, "400 Bad Request"},
		{"a large head", "GET / HTTP/1.1\r\nHost: " + address + "\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n", 1, "431 Request Header"},
		{"a wrong chunk", "POST /v1/chat/completions HTTP/1.1\r\nHost: " + address + "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 1, "400 Bad Request"},
	} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_, _ = io.WriteString(conn, c.sends) // the server may close it early
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		text, _ := io.ReadAll(conn) // a reset is an end too
		conn.Close()
		if n := strings.Count(string(text), "HTTP/1.1 "); n != c.answers || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %d responses, want %d with %q: %.300s", c.name, n, c.answers, c.want, text)
		}
	}
}

// TestLeavingClients: clients that leave in the middle cost nothing afterwards.
func TestLeavingClients(t *testing.T) {
	runner := small()
	scheduler, err := serve.NewBatched(runner, serve.Options{Parallel: 4, Queue: 64})
	require.NoError(t, err)
	defer scheduler.Close()
	s := serveBy(runner, scheduler)
	address := listening(t, s, func(*listen.Options) {})
	post := func(path, body string, wait time.Duration) (*http.Response, error) {
		return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}).Post("http://"+address+path, "application/json", strings.NewReader(body))
	}
	ask := func(body string) (*http.Response, error) { return post(chatPath, body, 10*time.Second) }
	long := also(`"stream":true,"logit_bias":{"5":100},"max_completion_tokens":1000`)
	long = strings.Replace(long, `"max_tokens":2,`, "", 1)
	before := runtime.NumGoroutine()
	for range 20 {
		response, err := ask(long)
		require.NoError(t, err)
		_, err = response.Body.Read(make([]byte, 100))
		require.NoError(t, err)
		response.Body.Close() // before the end
	}
	look := answered(jsonOf([]object{imagePart(red), textPart("what?")}), `"`+strings.Repeat("there is a red shape ", 60)+`"`)
	for i := range 20 {
		if response, err := post(attentionPath, look, time.Duration(i+1)*time.Millisecond); err == nil {
			response.Body.Close()
		}
	}
	response, err := ask(also(`"temperature":0`))
	require.NoError(t, err)
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("%s", response.Status)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stats := scheduler.Stats()
		if runtime.NumGoroutine() <= before && stats.Queued+stats.Running == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, want %d; %+v", runtime.NumGoroutine(), before, stats)
		}
	}
}

// TestRefusedUnread: a client that sends a large body before it reads gets the answer that refuses it.
func TestRefusedUnread(t *testing.T) {
	s := tiny(t, "right")
	address := listening(t, s, func(*listen.Options) {})
	const key = "Authorization: Bearer right\r\n"
	for _, c := range []struct {
		name, request, header string
		size                  int
		want                  string
	}{
		{"a wrong key", "POST " + chatPath, "Authorization: Bearer wrong\r\n", 32 << 20, "401 "},
		{"an unknown path", "POST /v1/embeddings", key, 32 << 20, "404 "},
		{"a wrong method", "PUT " + chatPath, key, 32 << 20, "405 "},
		{"another site's page", "POST " + chatPath, key + "Origin: https://attacker.example\r\n", 32 << 20, "403 "},
		{"a compressed body", "POST " + chatPath, key + "Content-Encoding: gzip\r\n", 32 << 20, "415 "},
		{"too large", "POST " + chatPath, key, maxBody + 16<<20, "413 "},
	} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", c.request, address, c.header, c.size, strings.Repeat(" ", c.size))
		status, _ := bufio.NewReader(conn).ReadString('\n')
		if conn.Close(); err != nil || !strings.HasPrefix(status, "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %q, %v, want %s", c.name, status, err, c.want)
		}
	}
}
