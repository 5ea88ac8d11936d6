// Shadergen compiles every kernel variant that package shaders declares from
// WGSL or GLSL to SPIR-V, into shaders/spirv, with a manifest of hashes. Run it from
// the module's root by "make shaders"; users do not need it. It calls naga for WGSL
// and, where a .comp file has changed, the glslc that PATCHWORK_GLSLC names.
//
//	shadergen          compile what has changed, delete what is no longer declared
//	shadergen -force   compile everything
//	shadergen -check   list stale modules; exit 1 if there are any
//	shadergen -print matmul.nt    print the text of a variant
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"patchwork/shaders"
	"patchwork/shaders/glslc"
	"patchwork/shaders/naga"
)

const dir = "shaders/spirv"

func main() {
	force := flag.Bool("force", false, "compile every shader, changed or not")
	check := flag.Bool("check", false, "only list stale modules; exit 1 if there are any")
	show := flag.String("print", "", "print the text of the `variant` and exit")
	flag.Parse()
	var err error
	switch {
	case *show != "":
		err = printSource(*show)
	case *check:
		err = checkAll()
	default:
		err = generate(*force)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "shadergen:", err)
		os.Exit(1)
	}
}

func printSource(id string) error {
	sources, err := shaders.Sources()
	if err != nil {
		return err
	}
	text, ok := sources[id]
	if !ok {
		return fmt.Errorf("no variant %q; want one of %q", id, slices.Sorted(maps.Keys(sources)))
	}
	fmt.Print(text)
	return nil
}

func checkAll() error {
	stale, err := shaders.Stale()
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(stale)) {
		fmt.Printf("%s: %s\n", id, stale[id])
	}
	if len(stale) > 0 {
		return fmt.Errorf("%d stale modules: run make shaders", len(stale))
	}
	return nil
}

// generate updates the folder. With another compiler than the manifest's, everything in its
// language is compiled again.
func generate(force bool) error {
	old, err := shaders.ReadManifest()
	if err != nil {
		return err
	}
	stale, err := shaders.Stale()
	if err != nil {
		return err
	}
	wgsl := language{name: naga.Version, compile: naga.Compile, old: old.Compiler}
	glsl := language{name: glslc.Version, compile: glslc.Compile, old: old.GLSL, lazy: !force}
	manifest := shaders.Manifest{Generator: "tools/shadergen", Modules: map[string]shaders.Module{}}
	for _, k := range shaders.All() {
		for i := range k.Variants {
			v, l := &k.Variants[i], &wgsl
			if v.Cooperative != nil {
				l = &glsl
			}
			text, err := k.Text(v)
			if err != nil {
				return err
			}
			id := k.ID(v)
			_, changed := stale[id]
			if manifest.Modules[id], err = l.module(id, text, old.Modules[id], changed || force); err != nil {
				return err
			}
		}
	}
	manifest.Compiler, manifest.GLSL = wgsl.used(), glsl.used()
	if err := clean(manifest.Modules); err != nil {
		return err
	}
	return writeManifest(manifest)
}

// language is a shading language with its compiler.
type language struct {
	name    func() (string, error)
	compile func(text string) ([]byte, error)
	old     string // the compiler of the committed modules
	lazy    bool   // run the compiler only if something has changed
	version string // of the installed compiler, once it was run
}

// module compiles a variant if the variant or its compiler has changed.
func (l *language) module(id, text string, before shaders.Module, changed bool) (m shaders.Module, err error) {
	if l.version == "" && (changed || !l.lazy) {
		if l.version, err = l.name(); err != nil {
			return m, err
		}
		if l.lazy && l.version != l.old && l.old != "" {
			return m, fmt.Errorf("%s: the committed modules were compiled by %s, but %s is installed: run shadergen -force to compile all modules", id, l.old, l.version)
		}
	}
	if !changed && l.used() == l.old {
		return before, nil
	}
	fmt.Println(id)
	module, err := l.compile(text)
	if err != nil {
		return m, fmt.Errorf("%s (its text: shadergen -print %s): %w", id, id, err)
	}
	if err := os.WriteFile(filepath.Join(dir, id+".spv"), module, 0o644); err != nil {
		return m, err
	}
	requires, err := shaders.ReadRequirements(module)
	return shaders.Module{Source: shaders.Hash([]byte(text)), Module: shaders.Hash(module), Requires: requires}, err
}

// used is the compiler of the modules.
func (l *language) used() string {
	if l.version == "" {
		return l.old
	}
	return l.version
}

// clean deletes the modules of variants that are no longer declared.
func clean(modules map[string]shaders.Module) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.spv"))
	if err != nil {
		return err
	}
	for _, f := range files {
		id := filepath.Base(f[:len(f)-len(".spv")])
		if _, declared := modules[id]; declared {
			continue
		}
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

func writeManifest(m shaders.Manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), append(data, '\n'), 0o644)
}
