package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
	"patchwork/tools/vlmtool/internal/buildinfo"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/errtext"
	"patchwork/tools/vlmtool/internal/terminal"
)

func versionCommand(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the build and the backends",
		Long: `Prints the commit and Go version of the build, the backends in it, the devices that they
find, and the CPU features in use. vlmtool --version prints one line.`,
		Example: `  vlmtool version
  # for programs
  vlmtool version --json`,
		RunE: func(*cobra.Command, []string) error { return printVersion(a) },
	}
}

// build is version's line of JSON.
type build struct {
	buildinfo.Info
	Backends []backend `json:"backends"`
	CPU      cpuBuild  `json:"cpu"`
}

// backend is an API to run kernels on: whether it is in the binary, and its devices.
type backend struct {
	Name    string   `json:"name"`
	Built   bool     `json:"built"`
	Devices []string `json:"devices"`
	Reason  string   `json:"reason,omitempty"` // why there is no device
}

// cpuBuild is what matmuls run on without a GPU.
type cpuBuild struct {
	Name     string   `json:"name"`
	Features []string `json:"features"`
	Matmuls  string   `json:"products"` // the implementation of matmuls
	OpenBLAS string   `json:"openblas"` // its version; "" where it is not found
}

// backends are all backends with their devices.
func backends(host engine.Info) []backend {
	all := []backend{{Name: "cpu", Built: true, Devices: []string{"cpu: " + host.Name}}}
	for _, b := range []struct {
		name  string
		built bool
		list  func() ([]engine.Info, error)
	}{{"vulkan", vulkan.Built, vulkan.List}, {"webgpu", webgpu.Built, webgpu.List}} {
		found := backend{Name: b.name, Built: b.built, Devices: []string{}}
		infos, err := b.list()
		for _, info := range infos {
			found.Devices = append(found.Devices, info.Device+": "+info.Name)
		}
		switch {
		case err != nil:
			found.Reason = errtext.Line(err)
		case len(infos) == 0:
			found.Reason = "no device found"
		}
		all = append(all, found)
	}
	return all
}

func printVersion(a *cli.App) error {
	host := cpu.Open(a.Threads).Info()
	b := build{Info: buildinfo.Read(), Backends: backends(host)}
	b.CPU = cpuBuild{Name: host.Name, Features: append([]string{}, host.Features...), Matmuls: host.Driver, OpenBLAS: cpu.OpenBLAS()}
	if a.JSON {
		return a.Result(b)
	}
	w := a.Stdout
	fmt.Fprintf(w, "vlmtool   %s\n", b.Version)
	if b.Commit != "" {
		changed := ""
		if b.Dirty {
			changed = ", with local changes"
		}
		day, _, _ := strings.Cut(b.Time, "T")
		fmt.Fprintf(w, "commit    %s of %s%s\n", b.Commit, day, changed)
	}
	cgo := "without cgo"
	if b.Cgo {
		cgo = "with cgo"
	}
	if len(b.Tags) > 0 {
		cgo += ", tags " + strings.Join(b.Tags, ",")
	}
	fmt.Fprintf(w, "built     by %s for %s, %s\n", b.Go, b.Platform, cgo)
	for _, backend := range b.Backends {
		has := strings.Join(backend.Devices, ", ")
		switch {
		case !backend.Built:
			has = "not in this binary"
		case has == "":
			has = "no device: " + backend.Reason
		}
		fmt.Fprintf(w, "%-9s %s\n", backend.Name, terminal.Printable(strings.TrimPrefix(has, "cpu: ")))
	}
	features := strings.Join(b.CPU.Features, " ")
	if features == "" {
		features = "none in use"
	}
	blas := b.CPU.OpenBLAS
	if blas == "" {
		blas = "not found"
	}
	fmt.Fprintf(w, "vectors   %s\nmatmuls   by %s; OpenBLAS %s\n", features, b.CPU.Matmuls, strings.TrimPrefix(blas, "OpenBLAS "))
	return nil
}
