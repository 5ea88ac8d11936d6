package shaders

import (
	"regexp"
	"testing"
)

func TestUnrollGLSL(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"literal", "[[unroll]] for (uint i = 0u; i < 2u; ++i) { a[i] = i; }", "{ a[0u] = 0u; } { a[1u] = 1u; } "},
		{"constant", "[[unroll]] for (uint r = 0u; r < ROWS; ++r) { f(r); } g();", "{ f(0u); } { f(1u); } { f(2u); }  g();"},
		{"nested", "[[unroll]] for (uint r = 0u; r < 1u; ++r) { [[unroll]] for (uint s = 0u; s < 2u; ++s) { a[r][s] = v.r; } }", "{ { a[0u][0u] = v.r; } { a[0u][1u] = v.r; }  } "},
		{"matrices", "[[unroll]] for (uint s = 0u; s < WIDTH / TN; ++s) { f(s); }", "if (0u < WIDTH / TN) { f(0u); } if (1u < WIDTH / TN) { f(1u); } "},
		{"not asked for", "for (uint i = 0u; i < 2u; ++i) { f(i); }", ""},
		{"not known", "[[unroll]] for (uint i = 0u; i < EACH; ++i) { f(i); }", ""},
		{"inside one that is not known", "[[unroll]] for (uint i = 0u; i < EACH; ++i) { [[unroll]] for (uint j = 0u; j < 1u; ++j) { f(i, j); } }", "[[unroll]] for (uint i = 0u; i < EACH; ++i) { { f(i, 0u); }  }"},
	} {
		want := c.want
		if want == "" {
			want = c.text
		}
		if got := unrollGLSL(c.text, map[string]uint32{"ROWS": 3, "WIDTH": 16}); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, want)
		}
	}
}

// TestUnrollGLSLLeavesNone looks for loops over a kernel's constants that are not
// unrolled, with another step or start for example.
func TestUnrollGLSLLeavesNone(t *testing.T) {
	for _, k := range All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			if v.Cooperative == nil {
				continue
			}
			text, err := k.GLSL(v)
			if err != nil {
				t.Fatal(err)
			}
			for name := range v.Consts {
				if regexp.MustCompile(`\[\[unroll\]\] for \([^;]*; \w+ < ` + name + `( / T[MNK])?; \+\+`).MatchString(text) {
					t.Errorf("%s: a loop over %s is not unrolled", k.ID(v), name)
				}
			}
		}
	}
}
