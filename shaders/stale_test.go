package shaders

import (
	"maps"
	"testing"
)

func TestStale(t *testing.T) {
	fresh := func(text, module string) Module { return Module{Hash([]byte(text)), Hash([]byte(module))} }
	manifest := map[string]Module{
		"fresh":    fresh("a", "A"),
		"edited":   fresh("b", "B"),
		"replaced": fresh("c", "C"),
		"unlisted": fresh("d", "D"),
		"removed":  fresh("e", "E"),
	}
	sources := map[string]string{"fresh": "a", "edited": "b2", "replaced": "c", "unlisted": "d", "new": "f"}
	modules := map[string][]byte{"fresh": []byte("A"), "edited": []byte("B"), "replaced": []byte("C2"), "left over": []byte("G"), "new": []byte("F")}
	want := map[string]string{
		"edited":    "has changed since its SPIR-V was compiled",
		"replaced":  "has SPIR-V that differs from the manifest",
		"unlisted":  "has no SPIR-V",
		"new":       "has no SPIR-V",
		"removed":   "is no longer declared",
		"left over": "is no longer declared",
	}
	if got := stale(manifest, sources, modules); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
