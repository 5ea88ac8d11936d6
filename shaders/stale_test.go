//go:build !js

package shaders

import (
	"maps"
	"testing"
)

func TestStale(t *testing.T) {
	fresh := func(text, module string) Module {
		return Module{Source: Hash([]byte(text)), Module: Hash([]byte(module))}
	}
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

// TestManifestRequirements compares what the manifest says of the modules with the modules.
func TestManifestRequirements(t *testing.T) {
	manifest, err := ReadManifest()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := committed()
	if err != nil {
		t.Fatal(err)
	}
	for id, module := range modules {
		want, err := ReadRequirements(module)
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if got := manifest.Modules[id].Requires; got != want {
			t.Errorf("%s requires %+v by the manifest, %+v by its module; run shadergen -force", id, got, want)
		}
	}
}
