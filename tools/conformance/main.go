// Conformance checks every variant of every kernel on every device of the machine against
// its float64 reference and prints a table: "make conformance". A cell has the number of
// passed cases and the largest error as a fraction of the tolerance. It exits with 1 if a
// case fails that is not a known failure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"

	"patchwork/engine"
	"patchwork/engine/conformance"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
)

func main() {
	var o options
	flag.StringVar(&o.device, "device", "", "only devices whose name matches the `regexp`: cpu, vulkan:0, webgpu")
	flag.StringVar(&o.kernel, "kernel", "", "only kernels whose name matches the `regexp`")
	flag.BoolVar(&o.short, "short", false, "skip large and slow cases")
	flag.BoolVar(&o.json, "json", false, "print every case as a JSON line instead of the table")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: conformance [flags]\n\nChecks every kernel on every device against its float64 reference.")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

type options struct {
	device, kernel string
	short, json    bool
}

func run(ctx context.Context, o options) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected %q; -kernel and -device choose what to run", flag.Arg(0))
	}
	kernels, err := regexp.Compile(o.kernel)
	if err != nil {
		return fmt.Errorf("-kernel: %w", err)
	}
	names, err := regexp.Compile(o.device)
	if err != nil {
		return fmt.Errorf("-device: %w", err)
	}
	table, ran := conformance.NewTable(), 0
	for _, d := range devices() {
		if !names.MatchString(d.name) {
			continue
		}
		ran++
		if err := d.check(ctx, o, kernels, table); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	if ran == 0 {
		return fmt.Errorf("no device matches -device %q", o.device)
	}
	return conclude(o, table)
}

// conclude prints the table and returns an error for failures.
func conclude(o options, table *conformance.Table) error {
	failed, unexpected := table.Count(conformance.Failed), table.Count(conformance.XPass)
	if table.Count(conformance.Passed)+failed+unexpected+table.Count(conformance.XFail) == 0 {
		return fmt.Errorf("no kernel matches -kernel %q", o.kernel)
	}
	if !o.json {
		if err := table.Print(os.Stdout); err != nil {
			return err
		}
		printUndefined(o.kernel)
	}
	if failed+unexpected > 0 {
		return fmt.Errorf("%d cases failed, %d passed although declared to fail", failed, unexpected)
	}
	return nil
}

func printUndefined(kernel string) {
	title := "\nSkipped, or with a wider tolerance, since the result is undefined:"
	for _, u := range conformance.Undefineds {
		if ok, err := regexp.MatchString(kernel, u.Kernel); err != nil || !ok {
			continue
		}
		if title != "" {
			fmt.Println(title)
			title = ""
		}
		fmt.Println("  " + u.String())
	}
}

// device is a device that can be opened.
type device struct {
	name string
	open func() (engine.Device, error)
}

// devices are all devices of the machine. The reason why a backend has none goes to stderr.
func devices() []device {
	all := []device{{"cpu", func() (engine.Device, error) { return cpu.Open(0), nil }}}
	for _, b := range []struct {
		name string
		list func() ([]engine.Info, error)
		open func(int) (engine.Device, error)
	}{{"vulkan", vulkan.List, vulkan.Open}, {"webgpu", webgpu.List, webgpu.Open}} {
		infos, err := b.list()
		if err != nil {
			fmt.Fprintln(os.Stderr, "conformance: without", b.name+":", err)
		}
		for i, info := range infos {
			all = append(all, device{info.Device, func() (engine.Device, error) { return b.open(i) }})
		}
	}
	return all
}

// check runs the cases on a device and adds the results to the table.
func (d device) check(ctx context.Context, o options, kernels *regexp.Regexp, table *conformance.Table) (err error) {
	dev, err := d.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	info := dev.Info()
	fmt.Fprintf(os.Stderr, "%s: %s, %s\n", info.Device, info.Name, info.Driver)
	return conformance.Run(ctx, dev, conformance.Options{Kernels: kernels, Short: o.short}, func(r conformance.Result) {
		table.Add(info.Device, r)
		if o.json {
			printJSON(info.Device, r)
		}
	})
}

// line is a result as JSON.
type line struct {
	Device  string             `json:"device"`
	Kernel  string             `json:"kernel"`
	Variant string             `json:"variant"`
	Case    string             `json:"case"`
	Status  conformance.Status `json:"status"`
	Worst   float64            `json:"worst_of_tolerance"`
	Error   string             `json:"error,omitempty"`
	Known   string             `json:"known,omitempty"`
}

func printJSON(device string, r conformance.Result) {
	l := line{Device: device, Kernel: r.Kernel, Variant: r.Variant, Case: r.Case, Status: r.Status(), Known: r.Known}
	if r.Err != nil {
		l.Error = r.Err.Error()
	} else {
		l.Worst = r.Worst
	}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
}
