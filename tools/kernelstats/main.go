// Command kernelstats compiles the kernels with a Vulkan driver's compiler, without running
// them, and prints what it made of each: registers, spills, scratch and shared memory,
// instructions. It needs no GPU: RADV compiles for any of AMD's chips where
// RADV_FORCE_FAMILY names it.
//
//	RADV_FORCE_FAMILY=navi21 VK_DRIVER_FILES=/usr/share/vulkan/icd.d/radeon_icd.x86_64.json go run ./tools/kernelstats --kernel matmul
//	kernelstats --disassemble matmul.tile64
//	kernelstats --check
//	kernelstats --page [--before DIR] [--times FILE] TABLE.json… > docs/kernel-statistics.md
//
// make kernelstats runs it for several chips and writes docs/kernel-statistics.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"patchwork/engine/vulkan"
	"patchwork/shaders"
)

type options struct {
	device, chip, class        string
	kernel, variant            string
	presets, works, dtypes     []string
	sizes                      []int
	all, json, markdown, check bool
	table, disassemble, text   string
	times, firstRun, page      bool
	before, timesFile          string
}

func main() {
	var o options
	f := pflag.CommandLine
	f.StringVar(&o.device, "device", "vulkan:0", "compile for `vulkan:N`")
	f.StringVar(&o.chip, "chip", "", "the chip's `NAME` in tables (default: from the device's name)")
	f.StringVar(&o.class, "class", "discrete", "choose variants as this class of device does: discrete, integrated or software")
	f.StringSliceVar(&o.presets, "presets", []string{"smollm2-135m", "smollm2-360m", "qwen3-1.7b", "shapes"}, "presets whose work is compiled")
	f.StringSliceVar(&o.works, "work", []string{"train", "prefill", "decode"}, "their work, of train, prefill, decode")
	f.StringSliceVar(&o.dtypes, "dtypes", []string{"f32", "bf16", "f16"}, "their types, of f32, bf16, f16")
	f.IntSliceVar(&o.sizes, "subgroup-sizes", nil, "subgroup sizes that pipelines with cooperative matrices require (default: all that the device has)")
	f.StringVar(&o.kernel, "kernel", "", "only kernels whose name matches the `REGEXP`")
	f.StringVar(&o.variant, "variant", "", "only variants whose name matches the `REGEXP`")
	f.BoolVar(&o.all, "all", false, "every variant that can run, not only those that the class chooses")
	f.BoolVar(&o.json, "json", false, "print JSON, with the compiler's own names of its statistics")
	f.BoolVar(&o.markdown, "markdown", false, "print a table in Markdown")
	f.StringVar(&o.table, "table", "", "also write the table to `FILE`, as it is committed")
	f.BoolVar(&o.check, "check", false, "fail where a chosen pipeline has spills, scratch or local memory that is not declared")
	f.StringVar(&o.disassemble, "disassemble", "", "print the compiler's listing of `KERNEL[.VARIANT]`")
	f.StringVar(&o.text, "listing", "", "with --disassemble, print the listings whose name matches the `REGEXP`, such as NIR or ACO (default: the last, the assembly)")
	f.BoolVar(&o.times, "compile-time", false, "measure how long the programs take to compile, without a cache and with one")
	f.BoolVar(&o.firstRun, "first-run", false, "measure how much longer the programs take when they run for the first time, on a device that runs them")
	f.BoolVar(&o.page, "page", false, "write docs/kernel-statistics.md from the given tables")
	f.StringVar(&o.before, "before", "", "with --page or --markdown, compare with the tables in `DIR`")
	f.StringVar(&o.timesFile, "times", "", "with --page, a `FILE` with the output of --compile-time --markdown")
	pflag.Parse()
	// Mesa keeps compiled shaders of its own: without that every compile time is that of
	// the compiler.
	os.Setenv("MESA_SHADER_CACHE_DISABLE", "true")
	if err := run(os.Stdout, os.Stderr, o, pflag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "kernelstats:", err)
		os.Exit(1)
	}
}

func run(w, progress io.Writer, o options, args []string) error {
	if o.page {
		return writePage(w, args, o.before, o.timesFile)
	}
	if len(args) > 0 {
		return fmt.Errorf("unexpected %q; --kernel and --variant choose what to compile", args[0])
	}
	s, err := o.selection()
	if err != nil {
		return err
	}
	class, err := parseClass(o.class)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(strings.TrimPrefix(o.device, "vulkan:"))
	if err != nil || !strings.HasPrefix(o.device, "vulkan:") {
		return fmt.Errorf("--device has %q, want vulkan:N", o.device)
	}
	if o.firstRun {
		return printFirstRuns(context.Background(), w, number, s, o.markdown)
	}
	c, err := vulkan.OpenCompiler(number)
	if err != nil {
		return err
	}
	defer c.Close()
	if o.times {
		return printTimes(w, c, s, cmp.Or(o.chip, chip(c.Info())), o.markdown)
	}
	c.SetClass(class)
	if o.disassemble != "" {
		return disassemble(w, c, s, o.disassemble, o.text)
	}
	if len(o.sizes) == 0 {
		o.sizes = subgroupSizes(c.Info().Limits)
	}
	line := newLine(progress)
	t, err := compile(c, s, o.sizes, false, line.show)
	line.clear()
	if err != nil {
		return err
	}
	t.Chip = cmp.Or(o.chip, t.Chip)
	if len(t.Rows) == 0 {
		return fmt.Errorf("no pipeline matches --kernel %q and --variant %q; --all has those that the class does not choose", o.kernel, o.variant)
	}
	return o.print(w, t)
}

// print writes a table as the flags say, and checks it.
func (o options) print(w io.Writer, t table) error {
	var err error
	switch {
	case o.json:
		err = t.printJSON(w)
	case o.markdown:
		var before map[string]table
		if before, err = readBefore(o.before); err == nil {
			t.printMarkdown(w, before[t.Chip])
		}
	default:
		err = t.printText(w)
	}
	if err == nil && o.table != "" {
		err = t.save(o.table)
	}
	if err != nil || !o.check {
		return err
	}
	if problems := t.check(exceptions, o.kernel == "" && o.variant == ""); len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	return nil
}

func (o options) selection() (s selection, err error) {
	s = selection{presets: o.presets, works: o.works, dtypes: o.dtypes, all: o.all}
	if s.kernel, err = regexp.Compile(o.kernel); err != nil {
		return s, fmt.Errorf("--kernel: %w", err)
	}
	if s.variant, err = regexp.Compile(o.variant); err != nil {
		return s, fmt.Errorf("--variant: %w", err)
	}
	return s, nil
}

var classes = map[string]shaders.Class{"discrete": shaders.Discrete, "integrated": shaders.Integrated, "software": shaders.Software}

func parseClass(name string) (shaders.Class, error) {
	class, ok := classes[name]
	if !ok {
		return 0, fmt.Errorf("--class has %q, want discrete, integrated or software", name)
	}
	return class, nil
}

func className(c shaders.Class) string {
	for name, class := range classes {
		if class == c {
			return name
		}
	}
	return ""
}
