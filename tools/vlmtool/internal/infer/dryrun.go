package infer

import (
	"fmt"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/vlm/generate"
	"patchwork/vlm/pretrained"
)

// dryAnswer is the part of the context that is an answer: it is generated token by token.
const dryAnswer = 256

// dryResult is what --dry-run prints with --json; all sizes are in bytes.
type dryResult struct {
	Parameters       int64  `json:"parameters"`
	Weights          string `json:"weights"`
	WeightBytes      int64  `json:"weight_bytes"`
	Cache            string `json:"cache"`
	CacheBytes       int64  `json:"cache_bytes"`
	ActivationBytes  int64  `json:"activation_bytes"`
	MemoryBytes      int64  `json:"memory_bytes"`
	Context          int    `json:"context"`
	Device           string `json:"device"`
	DeviceFreeMemory int64  `json:"device_free_bytes,omitempty"`
}

// dry prints what the model would take on the device with a context of so many tokens, and returns an
// error where it does not fit.
func (f *inferFlags) dry(a *cli.App) error {
	dev, err := device.Open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	m, err := pretrained.Plan(f.model, f.storage.Options())
	if err != nil {
		return err
	}
	defer m.Close()
	context := min(f.context, m.Config.Text.MaxPositionEmbeddings)
	answer := min(dryAnswer, context/2)
	rest, err := generate.PlanMemory(m, context-answer, answer)
	if err != nil {
		return err
	}
	r := dryResult{
		Parameters: m.Params.Count(), Weights: m.WeightsName(), WeightBytes: m.WeightBytes(), Cache: m.CacheName(), CacheBytes: rest.Cache,
		ActivationBytes: rest.Activations, MemoryBytes: m.WeightBytes() + rest.Total(), Context: context,
		Device: dev.Info().Device, DeviceFreeMemory: pretrained.AvailableMemory(dev),
	}
	if a.JSON {
		err = a.Result(r)
	} else {
		r.print(a)
	}
	if err != nil {
		return err
	}
	return pretrained.CheckMemory(f.model, m, rest.Total(), dev)
}

func (r dryResult) print(a *cli.App) {
	fmt.Fprintf(a.Stdout, "parameters       %s\n", terminal.Thousands(r.Parameters))
	fmt.Fprintf(a.Stdout, "weights          %s in %s\n", engine.Bytes(r.WeightBytes), r.Weights)
	fmt.Fprintf(a.Stdout, "keys and values  %s in %s, of %d tokens\n", engine.Bytes(r.CacheBytes), r.Cache, r.Context)
	fmt.Fprintf(a.Stdout, "activations      %s\n", engine.Bytes(r.ActivationBytes))
	fmt.Fprintf(a.Stdout, "memory           %s", engine.Bytes(r.MemoryBytes))
	if r.DeviceFreeMemory > 0 {
		fmt.Fprintf(a.Stdout, "; %s has %s", r.Device, engine.Bytes(r.DeviceFreeMemory))
	}
	fmt.Fprintln(a.Stdout)
}
