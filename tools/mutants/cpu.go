package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"patchwork/engine/conformance/mutation"
	"patchwork/tools/mutants/goforms"
)

//go:embed goforms/equivalent.txt
var cpuEquivalents string

// formsDir is the folder of the CPU forms, relative to the module's root.
const formsDir = "shaders"

// runCPU plants errors in the kernels' CPU forms.
func runCPU(ctx context.Context, o options, only *regexp.Regexp) error {
	equivalents, err := mutation.ParseEquivalents(cpuEquivalents)
	if err != nil {
		return err
	}
	files, err := goforms.Load(formsDir)
	if err != nil {
		return fmt.Errorf("%w (run it in the module's root)", err)
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := compileTest(ctx, dir, files)
	if err != nil {
		return err
	}
	if outcome := tryMutant(ctx, o, binary, nil, 0); outcome != mutation.Survived {
		return fmt.Errorf("the CPU's cases fail without a mutant: %s", outcome)
	}
	var all []planted
	var stale []string
	known := map[string]bool{}
	for _, f := range files {
		for _, m := range f.Mutants {
			known[m.Key] = true
		}
		if !only.MatchString(f.Name) {
			continue
		}
		these, err := tryFile(ctx, o, binary, f, equivalents)
		if err != nil {
			return err
		}
		all = append(all, these...)
	}
	for key := range equivalents {
		if !known[key] {
			stale = append(stale, key)
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("no file matches -kernel %q", o.kernel)
	}
	slices.Sort(stale)
	return report(all, stale)
}

// tryFile runs the test once for each of a file's errors.
func tryFile(ctx context.Context, o options, binary string, f goforms.File, equivalents map[string]string) ([]planted, error) {
	var all []planted
	var tried []goforms.Mutant
	for _, m := range f.Mutants {
		equal := equivalents[m.Key] != ""
		if equal == o.equivalent {
			all = append(all, planted{Mutant: mutation.Mutant{File: f.Name, Line: m.Line}, key: m.Key, equal: equal})
			tried = append(tried, m)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.workers)
	for i := range all {
		group.Go(func() error {
			all[i].outcome = tryMutant(ctx, o, binary, tried[i].Kernels, tried[i].Number)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, p := range all {
		if o.verbose {
			fmt.Printf("%-8s  %s\n", p.outcome, p.key)
		}
	}
	return all, nil
}

// compileTest builds the CPU's test with these files instead of the package's own.
func compileTest(ctx context.Context, dir string, files []goforms.File) (string, error) {
	replace := map[string]string{}
	for _, f := range files {
		original, err := filepath.Abs(filepath.Join(formsDir, f.Name))
		if err != nil {
			return "", err
		}
		replace[original] = filepath.Join(dir, f.Name)
		if err := os.WriteFile(replace[original], []byte(f.Text), 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "cpu.test")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", binary, "./engine/cpu").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}

// tryMutant runs the kernels' cases with one mutant, the small cases first.
func tryMutant(ctx context.Context, o options, binary string, kernels []string, number int) mutation.Outcome {
	run := "^TestConformance$/^Kernels$"
	if len(kernels) > 0 {
		run += "/^(" + strings.Join(kernels, "|") + ")$"
	}
	for _, short := range []string{"-test.short=true", "-test.short=false"} {
		limited, cancel := context.WithTimeout(ctx, o.limit)
		command := exec.CommandContext(limited, binary, "-test.run", run, "-test.failfast", short)
		command.Env = append(os.Environ(), fmt.Sprintf("%s=%d", goforms.Variable, number))
		command.WaitDelay = time.Second
		err := command.Run()
		stopped := limited.Err() != nil
		cancel()
		switch {
		case stopped:
			return mutation.Stopped
		case err != nil:
			return mutation.Killed
		}
	}
	return mutation.Survived
}
