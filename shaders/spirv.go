//go:build !js

package shaders

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed spirv
var spirv embed.FS

// SPIRV returns the committed module of a variant, or the one that WithText gave it.
func (k *Kernel) SPIRV(v *Variant) ([]byte, error) {
	if v.module != nil {
		return v.module, nil
	}
	module, err := spirv.ReadFile("spirv/" + k.ID(v) + ".spv")
	if err != nil {
		return nil, fmt.Errorf("kernel %s has no SPIR-V; run make shaders: %w", k.ID(v), err)
	}
	return module, nil
}

// Sources returns the text of every variant of every kernel, by variant ID.
func Sources() (map[string]string, error) {
	sources := map[string]string{}
	for _, k := range All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			text, err := k.Text(v)
			if err != nil {
				return nil, err
			}
			sources[k.ID(v)] = text
		}
	}
	return sources, nil
}

// Stale returns the variants whose committed module was not compiled from their current
// text, each with the reason. A module without a variant is stale too.
func Stale() (map[string]string, error) {
	manifest, err := ReadManifest()
	if err != nil {
		return nil, err
	}
	sources, err := Sources()
	if err != nil {
		return nil, err
	}
	modules, err := committed()
	if err != nil {
		return nil, err
	}
	return stale(manifest.Modules, sources, modules), nil
}

// stale compares the manifest with the texts and the modules, all by variant ID.
func stale(manifest map[string]Module, sources map[string]string, modules map[string][]byte) map[string]string {
	reasons := map[string]string{}
	for id, text := range sources {
		entry, listed := manifest[id]
		module, there := modules[id]
		switch {
		case !listed || !there:
			reasons[id] = "has no SPIR-V"
		case entry.Source != Hash([]byte(text)):
			reasons[id] = "has changed since its SPIR-V was compiled"
		case entry.Module != Hash(module):
			reasons[id] = "has SPIR-V that differs from the manifest"
		}
	}
	for id := range manifest {
		if _, declared := sources[id]; !declared {
			reasons[id] = "is no longer declared"
		}
	}
	for id := range modules {
		if _, declared := sources[id]; !declared {
			reasons[id] = "is no longer declared"
		}
	}
	return reasons
}

// committed returns the modules in spirv, by variant ID.
func committed() (map[string][]byte, error) {
	files, err := fs.Glob(spirv, "spirv/*.spv")
	if err != nil {
		return nil, err
	}
	modules := map[string][]byte{}
	for _, f := range files {
		data, err := spirv.ReadFile(f)
		if err != nil {
			return nil, err
		}
		modules[strings.TrimSuffix(strings.TrimPrefix(f, "spirv/"), ".spv")] = data
	}
	return modules, nil
}
