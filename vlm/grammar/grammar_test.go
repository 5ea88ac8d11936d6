package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
)

const end = 0 // the token that ends an answer

// testVocabulary has all bytes, some longer tokens, and one without bytes.
func testVocabulary() *Vocabulary {
	tokens := [][]byte{[]byte("<end>"), nil}
	for b := range 256 {
		tokens = append(tokens, []byte{byte(b)})
	}
	for _, text := range []string{`{"`, `":`, `": "`, `", "`, `"}`, `,"`, "true", "tru", "false", "null", "12", "0.5", "[1", "]]", `\"`, `\u00`, "é", "\xc3", "日本", "name", "nam", " ", "  ", "\n  ", "}}"} {
		tokens = append(tokens, []byte(text))
	}
	return NewVocabulary(tokens, []int32{end})
}

// matches reports whether a text is whole in a grammar.
func matches(g *Grammar, v *Vocabulary, text string) bool {
	m := g.Over(v)
	for _, b := range []byte(text) {
		m.Accept(int32(b) + 2)
	}
	return m.Ended()
}

func compile(t *testing.T, schema string) *Grammar {
	t.Helper()
	if schema == "" {
		return Object()
	}
	g, err := Compile([]byte(schema))
	require.NoError(t, err)
	return g
}

const person = `{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}},
	"required": ["name", "age"], "additionalProperties": false}`

const tree = `{"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"value": {"type": "number"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
	"required": ["value", "next"], "additionalProperties": false}}}`

func TestTexts(t *testing.T) {
	v := testVocabulary()
	for _, c := range []struct {
		schema string // "": any object
		yes    []string
		no     []string
	}{
		{"", []string{`{}`, `{ }`, `{"a":1}`, `{"a": [1, -2.5e+10, "x", {"b": null}], "c": true}`, "{\n  \"a\": \"\\u00e9\\n\"\n}", `{"日本": "é"}`},
			[]string{``, `1`, `[]`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`, `{"a":1}{`, `{"a":1} `, "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", `{"a":"\x"}`, `{"a":"\ud800"}`, `{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":   1}`}},
		{`{"type": "string"}`, []string{`""`, `"a b"`, `"\""`, `"\\"`, `"日"`}, []string{`"`, `"""`, `"\"`, `a`, `1`}},
		{`{"type": "integer"}`, []string{`0`, `-1`, `10`, `123456789012345`}, []string{`00`, `1.0`, `-`, `1e3`, `1234567890123456`, `--1`}},
		{`{"type": "number"}`, []string{`0`, `-0.5`, `1e3`, `1.25E-07`}, []string{`1e`, `1e999`, `.5`, `1.`, `NaN`, `0x1`}},
		{`{"type": ["boolean", "null"]}`, []string{`true`, `false`, `null`}, []string{`True`, `tru`, `nullx`, `"true"`}},
		{`{"enum": ["red", 3, null, {"a": 1}, "caf\u00e9"]}`, []string{`"red"`, `3`, `null`, `{"a":1}`, `"café"`}, []string{`"blue"`, `red`, `33`, `"re"`}},
		{`{"enum": ["red", 3], "type": "string"}`, []string{`"red"`}, []string{`3`}},
		{`{"const": "x"}`, []string{`"x"`}, []string{`"y"`}},
		{`true`, []string{`1`, `[]`, `"x"`, `{"a":[{}]}`}, []string{`x`}},
		{`{}`, []string{`null`, `[[], {}]`}, []string{`[`}},
		{`{"type": "array", "items": {"type": "boolean"}}`, []string{`[]`, `[true]`, `[true, false,true]`}, []string{`[1]`, `[true,]`, `[true`, `true`}},
		{`{"items": {"type": "null"}}`, []string{`[null]`}, []string{`{}`, `[1]`}},
		{person, []string{`{"name":"x","age":3}`, `{"name": "x", "age": 3, "tags": ["a", "b"]}`},
			[]string{`{}`, `{"name":"x"}`, `{"age":3,"name":"x"}`, `{"name":"x","age":3,"tags":["c"]}`, `{"name":"x","age":3,"more":1}`, `{"name":"x","age":"3"}`, `{"name":"x","age":3,}`}},
		{`{"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}}`,
			[]string{`{}`, `{"a":null}`, `{"b":null}`, `{"c":null}`, `{"a":null,"c":null}`, `{"b":null, "c":null}`, `{"a":null,"b":null,"c":null}`}, []string{`{,"a":null}`, `{"b":null,"a":null}`, `{"a":null,"a":null}`, `{"a":null "b":null}`}},
		{`{"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "required": ["b"]}`, []string{`{"b":null}`, `{"a":null,"b":null}`}, []string{`{}`, `{"a":null}`}},
		{`{"type": "object", "additionalProperties": {"type": "integer"}}`, []string{`{}`, `{"x":1,"y":2}`}, []string{`{"x":"1"}`}},
		{`{"type": "object", "additionalProperties": false}`, []string{`{}`}, []string{`{"x":1}`}},
		{`{"required": ["a"]}`, []string{`{"a":[1]}`}, []string{`{}`, `{"b":1}`}},
		{`{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}`, []string{`"x"`, `["x"]`}, []string{`[1]`, `1`}},
		{tree, []string{`{"value":1,"next":null}`, `{"value":1,"next":{"value":2,"next":null}}`}, []string{`{"value":1}`, `{"value":1,"next":{}}`}},
		{`{"type": "array", "items": {"$ref": "#"}, "description": "lists of lists"}`, []string{`[]`, `[[],[[]]]`}, []string{`[1]`}},
	} {
		g := compile(t, c.schema)
		for _, text := range c.yes {
			if !matches(g, v, text) {
				t.Errorf("%s does not permit %s", c.schema, text)
			}
			if text := strings.TrimSpace(text); !json.Valid([]byte(text)) {
				t.Errorf("%s is not JSON", text)
			}
		}
		for _, text := range c.no {
			if matches(g, v, text) {
				t.Errorf("%s permits %s", c.schema, text)
			}
		}
	}
}

// TestSchemaErrors: what is not supported is named.
func TestSchemaErrors(t *testing.T) {
	deep := strings.Repeat(`{"items":`, 100) + `{}` + strings.Repeat(`}`, 100)
	for schema, want := range map[string]string{
		``: "not an object", `[]`: "not an object", `false`: "not an object", `{"type": "text"}`: `"text"`, `{"type": 3}`: "#/type", `{"type": []}`: "#/type",
		`{"properties": {"a": {"type": "string", "pattern": "x"}}}`: `#/properties/a has "pattern"`, `{"oneOf": []}`: "oneOf", `{"minimum": 3}`: "minimum", `{"type": "string", "format": "date"}`: "format",
		`{"anyOf": []}`: "anyOf", `{"anyOf": [{}], "type": "object"}`: "beside anyOf", `{"enum": []}`: "enum", `{"enum": ["x"], "type": "integer"}`: "no value of the type", `{"enum": ["x"], "items": {}}`: "items",
		`{"enum": [1], "const": 1}`: "const", `{"$ref": "http://example.com/x"}`: "$ref", `{"$ref": "#/$defs/none"}`: "none", `{"$ref": "#"}`: "itself", `{"anyOf": [{"$ref": "#"}, {"type": "null"}]}`: "itself",
		`{"$ref": 3}`: "$ref", `{"required": 3}`: "required", `{"required": ["a"], "additionalProperties": false}`: `"a"`, `{"properties": []}`: "properties", deep: "deep",
		`{"title": "` + strings.Repeat("x", MaxSchemaBytes) + `"}`: "bytes",
	} {
		_, err := Compile([]byte(schema))
		var e *SchemaError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", schema, err, want)
		}
	}
}

// TestAlternatives: a schema with exponentially many alternatives is an error, not a long wait.
func TestAlternatives(t *testing.T) {
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"d%d": {"anyOf": [{"$ref": "#/$defs/d%d"}, {"anyOf": [{"$ref": "#/$defs/d%d"}]}]}`, i, i+1, i+1))
	}
	_, err := Compile([]byte(`{"$ref": "#/$defs/d0", "$defs": {` + strings.Join(defs, ",") + `, "d40": {"type": "null"}}}`))
	var e *SchemaError
	if !errors.As(err, &e) {
		t.Errorf("%v, want a SchemaError", err)
	}
}

// allowedBySearch tries every token.
func allowedBySearch(m *Matcher) (ids []int32) {
	now := m.now
	for id := range m.tokens.tokens {
		switch {
		case id == end && m.Ended():
			ids = append(ids, end)
		case id != end && m.tokens.text(int32(id)) != nil:
			m.Accept(int32(id))
			if m.now != dead {
				ids = append(ids, int32(id))
			}
			m.now = now
		}
	}
	return ids
}

// TestMask: the mask has the tokens that a search finds, and texts of random tokens of it are JSON of
// the schema.
func TestMask(t *testing.T) {
	v := testVocabulary()
	random := rand.New(rand.NewPCG(1, 2))
	for _, schema := range []string{"", person, tree, `{"type": ["array", "string"], "items": {"type": "number"}}`} {
		g := compile(t, schema)
		ended := 0
		for range 40 {
			m := g.Over(v)
			var text []byte
			for range 200 {
				logits := make([]float32, len(v.tokens))
				if !m.Mask(logits) {
					t.Fatalf("%s: nothing is allowed after %q", schema, text)
				}
				var allowed []int32
				for id, x := range logits {
					if !math.IsInf(float64(x), -1) {
						allowed = append(allowed, int32(id))
					}
				}
				if want := allowedBySearch(m); !slices.Equal(allowed, want) {
					t.Fatalf("%s after %q: %d allowed, want %d", schema, text, len(allowed), len(want))
				}
				id := allowed[random.IntN(len(allowed))]
				if slices.Contains(allowed, end) {
					id = end
				}
				if id == end {
					break
				}
				m.Accept(id)
				text = append(text, v.text(id)...)
			}
			if !m.Ended() {
				continue
			}
			if ended++; !json.Valid(text) {
				t.Errorf("%s: %q is not JSON", schema, text)
			}
		}
		if ended == 0 {
			t.Errorf("%s: no random text ended", schema)
		}
	}
}

// TestLimit: a matcher that forgets its states continues as before.
func TestLimit(t *testing.T) {
	v := testVocabulary()
	g := compile(t, tree)
	m := g.Over(v)
	for _, b := range []byte(`{"value":1,"next":{"value":2,"ne`) {
		m.Accept(int32(b) + 2)
	}
	before := allowedBySearch(m)
	m.masks = maxMasks
	if allowed := m.Mask(make([]float32, len(v.tokens))); !allowed || m.masks != 1 || len(m.states) > 40 {
		t.Errorf("%d masks and %d states are kept", m.masks, len(m.states))
	}
	if after := allowedBySearch(m); !slices.Equal(before, after) {
		t.Errorf("%v, want %v", after, before)
	}
	for _, b := range []byte(`xt":null}}`) {
		m.Accept(int32(b) + 2)
	}
	if !m.Ended() {
		t.Error("the text has not ended")
	}
}

// TestDepth: values are not nested without end.
func TestDepth(t *testing.T) {
	m := compile(t, `{"type": "array", "items": {"$ref": "#"}}`).Over(testVocabulary())
	n := 0
	for ; n < 1000 && m.now != dead; n++ {
		m.Accept('[' + 2)
	}
	if n < 20 || n == 1000 {
		t.Errorf("%d brackets", n)
	}
}

func FuzzCompile(f *testing.F) {
	for _, schema := range []string{person, tree, `{"enum": [1, "x"]}`, `{"anyOf": [{"type": "null"}, {"$ref": "#"}]}`, `{"items": {"const": {}}}`} {
		f.Add([]byte(schema))
	}
	v := testVocabulary()
	f.Fuzz(func(t *testing.T, schema []byte) {
		g, err := Compile(schema)
		if err != nil {
			return
		}
		m := g.Over(v)
		for range 5 {
			logits := make([]float32, len(v.tokens))
			if !m.Mask(logits) {
				t.Fatal("nothing is allowed")
			}
			m.Accept(int32(slices.IndexFunc(logits, func(x float32) bool { return x == 0 })))
		}
	})
}
