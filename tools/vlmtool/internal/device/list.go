package device

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
	"patchwork/shaders"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/errtext"
)

// Command is vlmtool devices.
func Command(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "devices",
		Short: "List devices, and why no GPU was found",
		Long: `Lists the devices that a model can run on, software ones included, with driver, memory,
limits and features. Where there is no GPU, it reports why.`,
		Example: `  vlmtool devices
  # every limit and feature
  vlmtool devices --json`,
		RunE: func(*cobra.Command, []string) error { return list(a) },
	}
}

func list(a *cli.App) error {
	vulkans, _ := vulkan.List() // Diagnose reports why there are none
	webgpus, noWebGPU := webgpu.List()
	for _, info := range slices.Concat([]engine.Info{cpu.Open(a.Threads).Info()}, vulkans, webgpus) {
		if a.JSON {
			if err := a.Result(info); err != nil {
				return err
			}
			continue
		}
		Print(a.Stdout, info)
	}
	before := "\n" // an empty line between the last device and the reasons
	if a.JSON {
		before = ""
	}
	for _, reason := range []error{vulkan.Diagnose(), noWebGPU} {
		if reason != nil && !a.Quiet {
			fmt.Fprint(a.Stderr, before)
			before = ""
			fmt.Fprintln(a.Stderr, strings.TrimSuffix(errtext.Line(reason), ": "+engine.ErrNoDevice.Error())) // the reason implies it
		}
	}
	return nil
}

// Print writes a device with its limits and features.
func Print(w io.Writer, d engine.Info) {
	fmt.Fprintf(w, "%-9s %s (%s)\n", d.Device, d.Name, d.Kind)
	fmt.Fprintf(w, "          driver   %s\n", strings.TrimSpace(d.Driver+" "+d.API))
	memory := "unknown"
	switch {
	case d.Kind == engine.Null:
		memory = "none: a null driver, nothing can run on it"
	case d.Memory > 0:
		memory = engine.Bytes(d.Memory)
	}
	fmt.Fprintf(w, "          memory   %s", memory)
	if d.Limits.MaxBindingBytes > 0 && d.Kind != engine.Null {
		fmt.Fprintf(w, ", %s a binding", engine.Bytes(d.Limits.MaxBindingBytes))
	}
	if d.Limits.MaxBufferBytes > 0 {
		fmt.Fprintf(w, ", %s a buffer", engine.Bytes(d.Limits.MaxBufferBytes))
	}
	fmt.Fprintln(w)
	if d.Memory > 0 && d.Kind != engine.Null {
		fmt.Fprintf(w, "          weights  %s\n", capacities(d.Memory))
	}
	if !strings.HasPrefix(d.Device, "vulkan") {
		if len(d.Features) > 0 {
			names := strings.ReplaceAll(strings.Join(d.Features, ", "), "timestamp-query", "timestamps")
			fmt.Fprintf(w, "          has      %s\n", names)
		}
		return
	}
	fmt.Fprintf(w, "          subgroup %s\n", subgroup(d.Limits))
	has, lacks := supported(d.Features)
	for _, list := range []struct {
		title string
		names []string
	}{{"has", has}, {"lacks", lacks}, {"matrices", matrices(d.Matrices)}} {
		if len(list.names) > 0 {
			fmt.Fprintf(w, "          %-8s %s\n", list.title, strings.Join(list.names, ", "))
		}
	}
}

// capacities says how many parameters fit into memory, nothing else beside them, by their type.
func capacities(memory int64) string {
	var texts []string
	for _, t := range []struct {
		name string
		bits float64 // of a weight
	}{{"f32", 32}, {"bf16", 16}, {"q8_0", 8.5}, {"q4_k", 4.5}} {
		n := float64(memory) * 8 / t.bits
		texts = append(texts, fmt.Sprintf("%.2gB in %s", n/1e9, t.name))
	}
	return "up to " + strings.Join(texts, ", ")
}

// kernelFeatures are the features that decide which kernels a device runs, with their
// names in the list; --json has all features.
var kernelFeatures = []struct{ feature, text string }{
	{"storageBuffer16BitAccess", "16-bit storage"},
	{"shaderFloat16", "f16 arithmetic"},
	{"shaderBFloat16Type", "bf16"},
	{"cooperativeMatrix", "cooperative matrices"},
	{"shaderBFloat16CooperativeMatrix", "bf16 matrices"},
	{"VK_NV_cooperative_matrix2", "VK_NV_cooperative_matrix2"},
	{"cooperativeMatrixWorkgroupScope", "workgroup-scope matrices"},
	{"cooperativeMatrixFlexibleDimensions", "flexible matrix sizes"},
	{"cooperativeMatrixTensorAddressing", "tensor addressing"},
	{"requiredSubgroupSize", "subgroup size control"},
	{"subgroupShuffle", "shuffles"},
	{"vulkanMemoryModel", "memory model"},
	{"bufferDeviceAddress", "buffer device address"},
	{"timelineSemaphore", "timeline semaphores"},
	{"shaderInt64", "64-bit integers"},
	{"timestampQueries", "timestamps"},
	{"VK_EXT_memory_budget", "memory budget"},
	{"VK_NV_cuda_kernel_launch", "VK_NV_cuda_kernel_launch"},
}

func supported(features []string) (has, lacks []string) {
	for _, f := range kernelFeatures {
		if slices.Contains(features, f.feature) {
			has = append(has, f.text)
		} else {
			lacks = append(lacks, f.text)
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

// matrices are the cooperative matrix types with their scopes.
func matrices(all []shaders.Matrix) (names []string) {
	for _, m := range all {
		names = append(names, fmt.Sprintf("%s %s", m.Scope, m))
	}
	return names
}
