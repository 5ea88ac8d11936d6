package grammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// SchemaError reports a schema that is not one, or has what is not supported.
type SchemaError struct {
	Path   string // of the schema within the whole, such as "#/properties/name"
	Reason string
}

func (e *SchemaError) Error() string { return "the JSON schema at " + e.Path + " " + e.Reason }

// Limits of a schema, far above what people write.
const (
	MaxSchemaBytes  = 256 << 10
	maxSchemaDepth  = 64
	maxSchemaStates = 1 << 20
)

// Supported lists the keywords of schemas that are supported.
var Supported = []string{"type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "$ref"}

// annotations are keywords that permit and forbid nothing.
var annotations = []string{"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$schema", "$id", "$comment", "$defs", "definitions"}

// Grammar is a set of texts. It is safe for concurrent use.
type Grammar struct {
	network *network
	start   int
}

// Object is the grammar of all JSON objects.
func Object() *Grammar {
	n, p := newNetwork()
	return &Grammar{n, p.object}
}

// Compile returns the grammar of the JSON values that a schema describes. Properties are in the order
// of the schema, and an object has no others than those that the schema names. The error is a
// *SchemaError.
func Compile(schema []byte) (*Grammar, error) {
	if len(schema) > MaxSchemaBytes {
		return nil, &SchemaError{"#", fmt.Sprintf("has %d bytes; at most %d are taken", len(schema), MaxSchemaBytes)}
	}
	n, p := newNetwork()
	c := &compiler{network: n, parts: p, root: schema, refs: map[string]int{}}
	start, err := c.schema(schema, "#", 0)
	if err != nil {
		return nil, err
	}
	if n.loops() {
		return nil, &SchemaError{"#", "has a $ref that leads to itself"}
	}
	g := &Grammar{n, start}
	return g, g.check()
}

type compiler struct {
	*network
	parts
	root []byte
	refs map[string]int // the parts of $ref
}

// member is a key of an object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// members returns the members of an object in their order; of a repeated key the last counts.
func members(raw []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("is %s, not an object", abbreviate(raw))
	}
	var out []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: key.(string)}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		out = slices.DeleteFunc(out, func(o member) bool { return o.key == m.key })
		out = append(out, m)
	}
	return out, nil
}

func abbreviate(raw []byte) string { return fmt.Sprintf("%.40s", raw) }

// schema returns the part of the network for a schema.
func (c *compiler) schema(raw []byte, path string, depth int) (part int, err error) {
	fail := func(format string, args ...any) (int, error) {
		return 0, &SchemaError{path, fmt.Sprintf(format, args...)}
	}
	switch {
	case depth > maxSchemaDepth:
		return fail("is nested more than %d deep", maxSchemaDepth)
	case len(c.states) > maxSchemaStates:
		return fail("is too large")
	case string(bytes.TrimSpace(raw)) == "true":
		return c.value, nil
	}
	all, err := members(raw)
	if err != nil {
		return fail("%v", err)
	}
	keys := map[string]json.RawMessage{}
	for _, m := range all {
		switch {
		case slices.Contains(annotations, m.key):
		case slices.Contains(Supported, m.key):
			keys[m.key] = m.value
		default:
			return fail("has %q, which is not supported; these are: %s", m.key, strings.Join(Supported, ", "))
		}
	}
	s := schema{compiler: c, path: path, keys: keys, depth: depth}
	for _, alone := range []string{"$ref", "anyOf"} {
		if keys[alone] != nil && len(keys) > 1 {
			return fail("has other keywords beside %s, which is not supported", alone)
		}
	}
	switch {
	case keys["$ref"] != nil:
		return s.ref()
	case keys["anyOf"] != nil:
		return s.anyOf()
	case keys["enum"] != nil || keys["const"] != nil:
		return s.enum()
	}
	return s.typed()
}

// schema is a schema that is being compiled.
type schema struct {
	*compiler
	path  string
	keys  map[string]json.RawMessage
	depth int
}

func (s *schema) fail(key, format string, args ...any) error {
	return &SchemaError{s.path + "/" + key, fmt.Sprintf(format, args...)}
}

// sub compiles a schema within this one.
func (s *schema) sub(raw []byte, key string) (int, error) {
	return s.compiler.schema(raw, s.path+"/"+key, s.depth+1)
}

// ref is the schema that a $ref names: the whole, or one of its definitions.
func (s *schema) ref() (int, error) {
	var name string
	if err := json.Unmarshal(s.keys["$ref"], &name); err != nil {
		return 0, s.fail("$ref", "is not a text")
	}
	if part, ok := s.refs[name]; ok {
		return part, nil
	}
	raw, ok := s.lookUp(name)
	if !ok {
		return 0, s.fail("$ref", "names %.60q, which is neither # nor one of #/$defs", name)
	}
	start := s.add()
	s.refs[name] = start
	part, err := s.compiler.schema(raw, name, s.depth+1)
	s.choice(start, part)
	return start, err
}

func (s *schema) lookUp(name string) (json.RawMessage, bool) {
	if name == "#" {
		return s.root, true
	}
	for _, folder := range []string{"$defs", "definitions"} {
		key, ok := strings.CutPrefix(name, "#/"+folder+"/")
		if !ok {
			continue
		}
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		var whole map[string]json.RawMessage
		var all map[string]json.RawMessage
		if json.Unmarshal(s.root, &whole) == nil && json.Unmarshal(whole[folder], &all) == nil && all[key] != nil {
			return all[key], true
		}
	}
	return nil, false
}

func (s *schema) anyOf() (int, error) {
	var all []json.RawMessage
	if err := json.Unmarshal(s.keys["anyOf"], &all); err != nil || len(all) == 0 {
		return 0, s.fail("anyOf", "is not a list of schemas")
	}
	start := s.add()
	var parts []int
	for i, raw := range all {
		part, err := s.sub(raw, fmt.Sprintf("anyOf/%d", i))
		if err != nil {
			return 0, err
		}
		parts = append(parts, part)
	}
	s.choice(start, parts...)
	return start, nil
}

// enum is one of the values of enum or const that the type permits.
func (s *schema) enum() (int, error) {
	var values []json.RawMessage
	if raw := s.keys["enum"]; raw != nil {
		if err := json.Unmarshal(raw, &values); err != nil || len(values) == 0 {
			return 0, s.fail("enum", "is not a list of values")
		}
	}
	if raw := s.keys["const"]; raw != nil {
		values = append(values, raw)
	}
	types, err := s.types()
	if err != nil {
		return 0, err
	}
	for key := range s.keys {
		if !slices.Contains([]string{"enum", "const", "type"}, key) {
			return 0, s.fail(key, "is beside enum or const, which is not supported")
		}
	}
	if s.keys["enum"] != nil && s.keys["const"] != nil {
		return 0, s.fail("const", "is beside enum, which is not supported")
	}
	var texts []string
	for _, raw := range values {
		text := literal(raw)
		if len(types) == 0 || slices.ContainsFunc(types, func(name string) bool { return isType(text, name) }) {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return 0, s.fail("enum", "has no value of the type")
	}
	return s.part(func(from int) int { return s.literals(from, texts) }), nil
}

// literal is a value as it is written: without spaces, and texts without needless escapes.
func literal(raw []byte) string {
	var text string
	if json.Unmarshal(raw, &text) == nil && len(raw) > 0 && raw[0] == '"' {
		return quote(text)
	}
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return string(raw)
	}
	return out.String()
}

func quote(text string) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a text has no error
	return strings.TrimSuffix(out.String(), "\n")
}

// isType reports whether a value, written as JSON, has a type.
func isType(text, name string) bool {
	switch text[0] {
	case '"':
		return name == "string"
	case '{':
		return name == "object"
	case '[':
		return name == "array"
	case 't', 'f':
		return name == "boolean"
	case 'n':
		return name == "null"
	}
	return name == "number" || name == "integer" && !strings.ContainsAny(text, ".eE")
}

var typeNames = []string{"object", "array", "string", "number", "integer", "boolean", "null"}

// types returns the names of type; none if it is not there.
func (s *schema) types() ([]string, error) {
	raw := s.keys["type"]
	if raw == nil {
		return nil, nil
	}
	var one string
	var names []string
	if json.Unmarshal(raw, &one) == nil {
		names = []string{one}
	} else if json.Unmarshal(raw, &names) != nil || len(names) == 0 {
		return nil, s.fail("type", "is neither a name nor a list of names")
	}
	for _, name := range names {
		if !slices.Contains(typeNames, name) {
			return nil, s.fail("type", "is %.40q, want one of %s", name, strings.Join(typeNames, ", "))
		}
	}
	return names, nil
}

// typed is a value of a type, or of one of several.
func (s *schema) typed() (int, error) {
	names, err := s.types()
	if err != nil {
		return 0, err
	}
	if names == nil {
		switch {
		case s.keys["properties"] != nil || s.keys["required"] != nil || s.keys["additionalProperties"] != nil:
			names = []string{"object"}
		case s.keys["items"] != nil:
			names = []string{"array"}
		default:
			return s.value, nil
		}
	}
	var all []int
	for _, name := range names {
		part, err := s.ofType(name)
		if err != nil {
			return 0, err
		}
		all = append(all, part)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	start := s.add()
	s.choice(start, all...)
	return start, nil
}

func (s *schema) ofType(name string) (int, error) {
	switch name {
	case "object":
		return s.objectOf()
	case "array":
		if s.keys["items"] == nil {
			return s.array, nil
		}
		item, err := s.sub(s.keys["items"], "items")
		return s.part(func(from int) int { return s.arrayPart(from, item) }), err
	case "string":
		return s.parts.text, nil
	case "number":
		return s.number, nil
	case "integer":
		return s.integer, nil
	case "boolean":
		return s.boolean, nil
	}
	return s.null, nil
}

// objectOf is an object with properties, or a map where the schema names none.
func (s *schema) objectOf() (int, error) {
	var declared []member
	var err error
	if raw := s.keys["properties"]; raw != nil {
		if declared, err = members(raw); err != nil {
			return 0, s.fail("properties", "%v", err)
		}
	}
	var required []string
	if raw := s.keys["required"]; raw != nil {
		if json.Unmarshal(raw, &required) != nil {
			return 0, s.fail("required", "is not a list of names")
		}
	}
	others, open := s.keys["additionalProperties"], true
	if others != nil {
		_ = json.Unmarshal(others, &open) // a schema leaves it true
	}
	for _, name := range required {
		if !slices.ContainsFunc(declared, func(m member) bool { return m.key == name }) {
			if !open {
				return 0, s.fail("required", "names %.60q, which is none of the properties", name)
			}
			declared = append(declared, member{name, json.RawMessage("true")})
		}
	}
	if len(declared) == 0 && open {
		return s.mapOf(others)
	}
	var properties []property
	for _, m := range declared {
		value, err := s.sub(m.value, "properties/"+m.key)
		if err != nil {
			return 0, err
		}
		properties = append(properties, property{quote(m.key), value, slices.Contains(required, m.key)})
	}
	return s.part(func(from int) int { return s.objectPart(from, properties) }), nil
}

// mapOf is an object with any keys.
func (s *schema) mapOf(values json.RawMessage) (int, error) {
	if values == nil {
		return s.object, nil
	}
	value, err := s.sub(values, "additionalProperties")
	return s.part(func(from int) int { return s.mapPart(from, s.parts.text, value) }), err
}
