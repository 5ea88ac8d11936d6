package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
)

// openDevice opens the device that --device names, with the variants that were
// tuned for it.
func (a *app) openDevice() (engine.Device, error) {
	dev, err := a.openNamed()
	if err != nil {
		return nil, err
	}
	if err := tuneDevice(dev); err != nil {
		slog.Warn("kernels run untuned", "reason", err)
	}
	return dev, nil
}

func (a *app) openNamed() (engine.Device, error) {
	kind, number, err := splitDevice(a.device)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "cpu":
		return cpu.Open(a.threads), nil
	case "vulkan":
		return vulkan.Open(number)
	case "webgpu":
		return webgpu.Open(number)
	}
	return a.bestDevice()
}

// splitDevice reads "vulkan:1".
func splitDevice(s string) (kind string, number int, err error) {
	kind, n, numbered := strings.Cut(s, ":")
	if numbered {
		if number, err = strconv.Atoi(n); err != nil || number < 0 {
			return "", 0, usagef("--device is %q; after the colon stands a number", s)
		}
	}
	switch kind {
	case "vulkan", "webgpu":
		return kind, number, nil
	case "auto", "cpu":
		if !numbered {
			return kind, 0, nil
		}
	}
	return "", 0, usagef("--device is %q, want auto, cpu, vulkan[:N] or webgpu[:N]", s)
}

// bestDevice is the first real GPU, else the CPU.
func (a *app) bestDevice() (engine.Device, error) {
	infos, _ := vulkan.List() // why there is none is vlmtool devices' to tell
	for i, info := range infos {
		if info.Hardware() {
			return vulkan.Open(i)
		}
	}
	return cpu.Open(a.threads), nil
}

func runDevices(_ context.Context, a *app, args []string) error {
	if err := a.parse(args, 0); err != nil {
		return err
	}
	vulkans, _ := vulkan.List() // Diagnose tells why there are none
	webgpus, noWebGPU := webgpu.List()
	for _, info := range slices.Concat([]engine.Info{cpu.Open(a.threads).Info()}, vulkans, webgpus) {
		if a.json {
			if err := a.result(info); err != nil {
				return err
			}
			continue
		}
		printDevice(a, info)
	}
	for _, why := range []error{vulkan.Diagnose(), noWebGPU} {
		if why != nil && !a.quiet {
			fmt.Fprintln(a.stderr, oneLine(why))
		}
	}
	return nil
}

func printDevice(a *app, d engine.Info) {
	fmt.Fprintf(a.stdout, "%-9s %s (%s)\n", d.Device, d.Name, d.Kind)
	fmt.Fprintf(a.stdout, "          driver   %s %s\n", d.Driver, d.API)
	memory := "not told"
	if d.Memory > 0 {
		memory = engine.Bytes(d.Memory)
	}
	fmt.Fprintf(a.stdout, "          memory   %s", memory)
	if d.Limits.MaxBindingBytes > 0 {
		fmt.Fprintf(a.stdout, ", %s a binding", engine.Bytes(d.Limits.MaxBindingBytes))
	}
	fmt.Fprintln(a.stdout)
	if len(d.Features) > 0 {
		fmt.Fprintf(a.stdout, "          features %s\n", strings.Join(d.Features, " "))
	}
}
