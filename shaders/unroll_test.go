package shaders

import (
	"regexp"
	"strings"
	"testing"
)

func TestUnroll(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"literal", "for (var i = 0u; i < 2u; i = i + 1u) { a[i] = i; }", "{ a[0u] = 0u; }\n{ a[1u] = 1u; }\n"},
		{"constant", "const ROWS: u32 = 2u;\nfor (var r = 0u; r < ROWS; r = r + 1u) { f(r); } g();", "const ROWS: u32 = 2u;\n{ f(0u); }\n{ f(1u); }\n g();"},
		{"nested", "for (var i = 0u; i < 1u; i = i + 1u) { for (var j = 0u; j < 2u; j = j + 1u) { a[i][j] = 0; } }", "{ { a[0u][0u] = 0; }\n{ a[0u][1u] = 0; }\n }\n"},
		{"component", "for (var x = 0u; x < 1u; x = x + 1u) { v.x = xx + x; }", "{ v.x = xx + 0u; }\n"},
		{"inside a long loop", "for (var d = 0u; d < n; d = d + 1u) { for (var i = 0u; i < 1u; i = i + 1u) { f(d, i); } }", "for (var d = 0u; d < n; d = d + 1u) { { f(d, 0u); }\n }"},
		{"long", "for (var i = 0u; i < 5u; i = i + 1u) { f(i); }", ""},
		{"step", "for (var i = 0u; i < 4u; i = i + 2u) { f(i); }", "{ f(0u); }\n{ f(2u); }\n"},
		{"step unknown", "for (var i = 0u; i < 4u; i = i + n) { f(i); }", ""},
		{"index", "for (var i = 0u; i < 2u; i = i + 1u) { a[4u * i + 1u][n + 1u] = b[i + 1u]; }", "{ a[1u][n + 1u] = b[1u]; }\n{ a[5u][n + 1u] = b[2u]; }\n"},
		{"left early", "for (var i = 0u; i < 4u; i = i + 1u) { if (i > n) { break; } }", ""},
		{"passed over", "for (var i = 0u; i < 4u; i = i + 1u) { if (i == n) { continue; } f(i); }", ""},
	} {
		want := c.want
		if want == "" {
			want = c.text
		}
		if got := Unroll(c.text); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, want)
		}
	}
}

// TestUnrollLeavesNone looks for loops over a kernel's constants that are not unrolled:
// their arrays would be in memory instead of registers.
func TestUnrollLeavesNone(t *testing.T) {
	for _, k := range All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			if v.Cooperative != nil {
				continue // GLSL is not WebGPU's
			}
			text, err := k.WGSL(v)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range v.Consts {
				if value <= maxUnroll && strings.Contains(Unroll(text), "< "+name+";") {
					t.Errorf("%s: a loop over %s = %d is not unrolled", k.ID(v), name, value)
				}
			}
		}
	}
}

// TestLiteralIndices: a variant that is unrolled in the text indexes its arrays in
// registers by literals only.
func TestLiteralIndices(t *testing.T) {
	declared := regexp.MustCompile(`(?:var |[{,] )(\w+): array<`)
	literal := regexp.MustCompile(`^(\[\d+u?\])+$`)
	for _, k := range All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			if v.Unroll == 0 || v.Storage.Bindings != 0 {
				continue
			}
			arrays := 0
			for _, name := range v.Files()[len(v.base()):] {
				text := v.Literal(must(SourceFile(name)))
				for _, a := range declared.FindAllStringSubmatch(text, -1) {
					arrays++
					for _, use := range regexp.MustCompile(`\b`+a[1]+`((?:\[[^\]]*\])+)`).FindAllStringSubmatch(text, -1) {
						if !literal.MatchString(use[1]) {
							t.Errorf("%s, %s: %s is indexed by a variable", k.ID(v), name, use[0])
						}
					}
				}
			}
			if arrays == 0 {
				t.Errorf("%s has no array, and no reason to be unrolled", k.ID(v))
			}
		}
	}
}
