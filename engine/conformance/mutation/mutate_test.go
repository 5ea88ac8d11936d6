package mutation

import (
	"slices"
	"strings"
	"testing"
)

// TestOf lists all mutants of some lines.
func TestOf(t *testing.T) {
	names := Names{Loads: map[string]string{"load_a": "load_b"}, Params: map[string]string{"cols": "u32", "eps": "f32"}}
	for _, c := range []struct {
		text string
		want []string
	}{
		{"let i = a + b; // x - y", []string{"a - b"}},
		{"let i = -a;", nil},
		{"let v = vec4<f32>(x);", nil},
		{"let v = array<vec4<f32>, 9>();", []string{"array<vec4<f32>, 8>"}},
		{"if (i >= n) { return; }", []string{"if (true)", "if (false)", "i > n"}},
		{"for (var i = 0u; i < n; i = i + 1u) { }", []string{"var i = 1u", "i <= n", "i + 2u"}},
		{"for (var n = 8u; n > 0u; n = n / 2u) { }", []string{"var n = 9u", "var n = 7u", "n > 1u", "n / 3u"}},
		{"{}\ny = min(load_a(i), p.cols);", []string{"max(load_a(i), p.cols)", "min(load_b(i), p.cols)", "(p.cols + 1u)", "{}\n"}},
		{"let v = array<vec4<f32>>(a >> b);", []string{"a << b"}},
		{"let e = p.eps * at.x;", []string{"(2.0 * p.eps)", "p.eps / at.x", "at.y"}},
		{"let s = select(f(a, b), 2.5, c == d);", []string{"(2.0 * 2.5)", "!(c == d)", "c != d"}},
		{"@compute @workgroup_size(64) fn main() { workgroupBarrier(); }", []string{"{  }"}},
	} {
		var got []string
		for _, m := range Of("x.wgsl", c.text, names) {
			got = append(got, m.Apply(c.text))
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %d mutants, want %d: %q", c.text, len(got), len(c.want), got)
		}
		for _, w := range c.want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, w) }) {
				t.Errorf("%s: no mutant with %q among %q", c.text, w, got)
			}
		}
	}
}

// TestPlant: every mutant of a file changes the text of one of the file's hosts, and the
// first mutant that of every host. A loop of one iteration that is unrolled in a host's
// text does not have its step.
func TestPlant(t *testing.T) {
	sources, err := Sources()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if len(s.Mutants) == 0 {
			t.Errorf("%s has no mutants", s.File)
			continue
		}
		changed := make([]bool, len(s.Mutants))
		for _, h := range s.Hosts {
			original, err := h.Kernel.WGSL(h.Variant)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range s.Mutants {
				if changed[i] && i > 0 {
					continue
				}
				text, err := h.Plant(m)
				if err != nil {
					t.Errorf("%s in %s: %v", m, h.ID(), err)
				}
				changed[i] = text != original
				if i == 0 && !changed[0] {
					t.Errorf("%s in %s: the text is unchanged", m, h.ID())
				}
			}
		}
		if i := slices.Index(changed, false); i >= 0 {
			t.Errorf("%s: the text of every host is unchanged", s.Mutants[i])
		}
	}
}

// TestEquivalents: every declared equivalent is an existing mutant.
func TestEquivalents(t *testing.T) {
	sources, err := Sources()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, s := range sources {
		keys = append(keys, s.Keys...)
	}
	slices.Sort(keys)
	for i := 1; i < len(keys); i++ {
		if keys[i] == keys[i-1] {
			t.Errorf("two mutants are called %s", keys[i])
		}
	}
	for _, key := range Stale(keys) {
		t.Errorf("equivalent.txt declares a mutant that no longer exists: %s", key)
	}
}

func TestParseEquivalents(t *testing.T) {
	got, err := ParseEquivalents("# note\nwhy not\n  a.wgsl :: x :: + → -\n  a.wgsl :: y :: + → -\n\nelse\n  b.wgsl :: z :: 0 → 1\n")
	if err != nil || len(got) != 3 || got["a.wgsl :: y :: + → -"] != "why not" || got["b.wgsl :: z :: 0 → 1"] != "else" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"  a :: b :: c\n", "why\n  a :: b\n"} {
		if _, err := ParseEquivalents(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
