// Shadergen compiles every kernel variant that package shaders declares from
// WGSL to SPIR-V, into shaders/spirv, with a manifest of hashes. Run it from
// the module's root by "make shaders"; users never need it.
//
//	shadergen          compile what has changed, delete what is no longer declared
//	shadergen -force   compile everything
//	shadergen -check   exit 1 and name what is stale
//	shadergen -print matmul.nt    print the WGSL of a variant
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
	"patchwork/shaders/naga"
)

const dir = "shaders/spirv"

func main() {
	force := flag.Bool("force", false, "compile every shader, changed or not")
	check := flag.Bool("check", false, "only name what is stale; exit 1 when something is")
	show := flag.String("print", "", "print the WGSL of the `variant` and exit")
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
		return fmt.Errorf("no variant %q; there are %q", id, slices.Sorted(maps.Keys(sources)))
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

// generate brings the folder up to date. With another compiler than the
// manifest's, everything is compiled again.
func generate(force bool) error {
	compiler, err := naga.Version()
	if err != nil {
		return err
	}
	old, err := shaders.ReadManifest()
	if err != nil {
		return err
	}
	stale, err := shaders.Stale()
	if err != nil {
		return err
	}
	sources, err := shaders.Sources()
	if err != nil {
		return err
	}
	force = force || compiler != old.Compiler
	manifest := shaders.Manifest{Generator: "tools/shadergen", Compiler: compiler, Modules: map[string]shaders.Module{}}
	for _, id := range slices.Sorted(maps.Keys(sources)) {
		if _, changed := stale[id]; !changed && !force {
			manifest.Modules[id] = old.Modules[id]
			continue
		}
		fmt.Println(id)
		if manifest.Modules[id], err = compile(id, sources[id]); err != nil {
			return err
		}
	}
	if err := clean(manifest.Modules); err != nil {
		return err
	}
	return writeManifest(manifest)
}

func compile(id, text string) (shaders.Module, error) {
	module, err := naga.Compile(text)
	if err != nil {
		return shaders.Module{}, fmt.Errorf("%s (its text: shadergen -print %s): %w", id, id, err)
	}
	if err := os.WriteFile(filepath.Join(dir, id+".spv"), module, 0o644); err != nil {
		return shaders.Module{}, err
	}
	return shaders.Module{Source: shaders.Hash([]byte(text)), Module: shaders.Hash(module)}, nil
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
