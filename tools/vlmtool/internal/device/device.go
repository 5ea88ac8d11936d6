// Package device opens the device that --device names, and lists devices.
package device

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/tuned"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
	"patchwork/tools/vlmtool/internal/cli"
)

// Open opens the device that --device names, with the kernel variants that were tuned
// for it.
func Open(a *cli.App) (engine.Device, error) {
	dev, err := open(a)
	if err != nil {
		return nil, err
	}
	if err := loadTuned(dev); err != nil {
		slog.Warn("kernels run untuned", "reason", err)
	}
	ReportCompiling(dev, func(line string) { slog.Info(line) })
	return dev, nil
}

// ReportCompiling says when a device takes more than a second to compile kernels.
func ReportCompiling(dev engine.Device, say func(line string)) {
	if r, ok := dev.(engine.CompileReporter); ok {
		info := dev.Info()
		r.OnSlowCompile(func(kernels int) {
			say(fmt.Sprintf("compiling %d kernels for %s (%s)", kernels, info.Device, info.Name))
		})
	}
}

func open(a *cli.App) (engine.Device, error) {
	kind, number, err := split(a.Device)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "cpu":
		return cpu.Open(a.Threads), nil
	case "vulkan":
		return vulkan.Open(number)
	case "webgpu":
		return webgpu.Open(number)
	}
	return openAuto(a)
}

// openAuto opens the first hardware GPU, else the CPU. Of several processes on a machine each
// opens a GPU of its own.
func openAuto(a *cli.App) (engine.Device, error) {
	infos, _ := vulkan.List() // vlmtool devices reports why there are none
	var hardware []int
	for i, info := range infos {
		if info.Hardware() {
			hardware = append(hardware, i)
		}
	}
	n := len(hardware)
	if n == 0 {
		return cpu.Open(a.Threads), nil
	}
	if ranks := a.World.LocalSize(); ranks > n && a.World.LocalRank() == 0 {
		slog.Warn(fmt.Sprintf("%d ranks share %d GPUs on %s; start %d there", ranks, n, a.World.Host(a.World.Rank()), n))
	}
	return vulkan.Open(hardware[a.World.LocalRank()%n])
}

// loadTuned gives a device the variants that vlmtool tune chose for it.
func loadTuned(dev engine.Device) error {
	tunable, ok := dev.(engine.Tunable)
	if !ok {
		return nil
	}
	file, err := tuned.Load(dev.Info())
	if choices := file.Choices(); len(choices) > 0 {
		tunable.SetChoices(choices)
	}
	return err
}

// name is the value of --device.
type name string

func (n *name) Values() []string { return []string{"auto", "cpu", "vulkan", "webgpu"} }
func (n *name) Type() string     { return "string" }
func (n *name) String() string   { return string(*n) }

func (n *name) Set(s string) error {
	_, _, err := split(s)
	*n = name(s)
	return err
}

// Flag adds --device.
func Flag(a *cli.App, s *pflag.FlagSet) {
	a.Device = "auto"
	s.Var((*name)(&a.Device), "device", "run on `DEVICE`: auto (the first Vulkan GPU, of several processes one each, else the CPU), cpu, vulkan[:N] or webgpu[:N]")
}

var errName = errors.New("want auto, cpu, vulkan[:N] or webgpu[:N], as vlmtool devices lists them")

// split parses "vulkan:1".
func split(s string) (kind string, number int, err error) {
	kind, n, numbered := strings.Cut(s, ":")
	if numbered {
		if number, err = strconv.Atoi(n); err != nil || number < 0 {
			return "", 0, errName
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
	return "", 0, errName
}
