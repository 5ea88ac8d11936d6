package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
	"patchwork/shaders"
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

// deviceName is --device's value.
type deviceName string

func (d *deviceName) offers() []string { return []string{"auto", "cpu", "vulkan", "webgpu"} }
func (d *deviceName) Type() string     { return "device" }
func (d *deviceName) String() string   { return string(*d) }

func (d *deviceName) Set(s string) error {
	_, _, err := splitDevice(s)
	*d = deviceName(s)
	return err
}

// deviceFlag adds --device.
func (a *app) deviceFlag() {
	a.device = "auto"
	a.flags.Var((*deviceName)(&a.device), "device", "DEVICE: auto (a GPU by Vulkan when there is one), cpu, vulkan[:N] or webgpu[:N]")
}

var errDevice = errors.New("want auto, cpu, vulkan[:N] or webgpu[:N], as vlmtool devices lists them")

// splitDevice reads "vulkan:1".
func splitDevice(s string) (kind string, number int, err error) {
	kind, n, numbered := strings.Cut(s, ":")
	if numbered {
		if number, err = strconv.Atoi(n); err != nil || number < 0 {
			return "", 0, errDevice
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
	return "", 0, errDevice
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

var devicesCommand = command{
	name: "devices", usage: "[--json]", about: "list the devices there are, and why there is no GPU",
	text: "Lists every device that a model can run on, those in software too, with its driver, memory, limits and features, and says why there is no GPU where there is none.",
	examples: []example{
		{"vlmtool devices", ""},
		{"vlmtool devices --json", "every limit and feature"},
	},
	declare: func(a *app) action { return func(context.Context) error { return listDevices(a) } },
}

func listDevices(a *app) error {
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
	before := "\n" // sets what is said apart from the last device
	if a.json {
		before = ""
	}
	for _, why := range []error{vulkan.Diagnose(), noWebGPU} {
		if why != nil && !a.quiet {
			fmt.Fprint(a.stderr, before)
			before = ""
			fmt.Fprintln(a.stderr, strings.TrimSuffix(oneLine(why), ": "+engine.ErrNoDevice.Error())) // which is said already
		}
	}
	return nil
}

func printDevice(a *app, d engine.Info) {
	fmt.Fprintf(a.stdout, "%-9s %s (%s)\n", d.Device, d.Name, d.Kind)
	fmt.Fprintf(a.stdout, "          driver   %s\n", strings.TrimSpace(d.Driver+" "+d.API))
	memory := "not told"
	switch {
	case d.Kind == engine.Null:
		memory = "none: its driver drives no hardware, so that nothing can run on it"
	case d.Memory > 0:
		memory = engine.Bytes(d.Memory)
	}
	fmt.Fprintf(a.stdout, "          memory   %s", memory)
	if d.Limits.MaxBindingBytes > 0 && d.Kind != engine.Null {
		fmt.Fprintf(a.stdout, ", %s a binding", engine.Bytes(d.Limits.MaxBindingBytes))
	}
	if d.Limits.MaxBufferBytes > 0 {
		fmt.Fprintf(a.stdout, ", %s a buffer", engine.Bytes(d.Limits.MaxBufferBytes))
	}
	fmt.Fprintln(a.stdout)
	if !strings.HasPrefix(d.Device, "vulkan") {
		if len(d.Features) > 0 {
			names := strings.ReplaceAll(strings.Join(d.Features, ", "), "timestamp-query", "time stamps")
			fmt.Fprintf(a.stdout, "          has      %s\n", names)
		}
		return
	}
	fmt.Fprintf(a.stdout, "          subgroup %s\n", subgroup(d.Limits))
	has, lacks := sorted(d.Features)
	for _, list := range []struct {
		title string
		names []string
	}{{"has", has}, {"lacks", lacks}, {"matrices", matrices(d.Matrices)}} {
		if len(list.names) > 0 {
			fmt.Fprintf(a.stdout, "          %-8s %s\n", list.title, strings.Join(list.names, ", "))
		}
	}
}

// told are the features that decide which kernels a device runs, in words; --json
// lists all.
var told = []struct{ feature, words string }{
	{"storageBuffer16BitAccess", "16-bit storage"},
	{"shaderFloat16", "f16 arithmetic"},
	{"shaderBFloat16Type", "bf16"},
	{"cooperativeMatrix", "cooperative matrices"},
	{"shaderBFloat16CooperativeMatrix", "bf16 matrices"},
	{"VK_NV_cooperative_matrix2", "VK_NV_cooperative_matrix2"},
	{"cooperativeMatrixWorkgroupScope", "matrices of workgroups"},
	{"cooperativeMatrixFlexibleDimensions", "matrices of flexible sizes"},
	{"cooperativeMatrixTensorAddressing", "tensor addressing"},
	{"requiredSubgroupSize", "subgroup size control"},
	{"subgroupShuffle", "shuffles"},
	{"vulkanMemoryModel", "memory model"},
	{"bufferDeviceAddress", "buffer device address"},
	{"timelineSemaphore", "timeline semaphores"},
	{"shaderInt64", "64-bit integers"},
	{"timestampQueries", "time stamps"},
	{"VK_EXT_memory_budget", "memory budget"},
	{"VK_NV_cuda_kernel_launch", "VK_NV_cuda_kernel_launch"},
}

func sorted(features []string) (has, lacks []string) {
	for _, t := range told {
		if slices.Contains(features, t.feature) {
			has = append(has, t.words)
		} else {
			lacks = append(lacks, t.words)
		}
	}
	return has, lacks
}

func subgroup(l engine.Limits) string {
	if l.MinSubgroupSize == l.MaxSubgroupSize {
		return strconv.Itoa(l.SubgroupSize)
	}
	return fmt.Sprintf("%d, of %d to %d", l.SubgroupSize, l.MinSubgroupSize, l.MaxSubgroupSize)
}

// matrices are the products of cooperative matrices with their scope.
func matrices(all []shaders.Matrix) (names []string) {
	for _, m := range all {
		names = append(names, fmt.Sprintf("%s %s", m.Scope, m))
	}
	return names
}
