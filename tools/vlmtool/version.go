package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
)

// make dist sets these; otherwise Go tells them, where it has built from a clone.
var (
	builtVersion string // as git describe tells it
	builtCommit  string
	builtTime    string // of the commit, RFC 3339
	builtDirty   string // "true" where files differed from the commit
)

var versionCommand = command{
	name: "version", usage: "[--json]", about: "say what the binary is built from and can run on",
	text: "Says from which commit and with which Go the binary was built, which backends are in it, which of them find a device here, and what the processor has for them. vlmtool --version prints one line.",
	examples: []example{
		{"vlmtool version", ""},
		{"vlmtool version --json", "for programs"},
	},
	declare: func(a *app) action { return func(context.Context) error { return a.printVersion() } },
}

// build is version's line of JSON.
type build struct {
	Version  string    `json:"version"`
	Commit   string    `json:"commit"` // "" where it is not known
	Time     string    `json:"time"`   // of the commit
	Dirty    bool      `json:"dirty"`  // files differed from the commit
	Go       string    `json:"go"`
	Platform string    `json:"platform"`
	Tags     []string  `json:"tags"`
	Cgo      bool      `json:"cgo"`
	Backends []backend `json:"backends"`
	CPU      cpuBuild  `json:"cpu"`
}

// backend is a way to run kernels: whether the binary has it, and what it finds.
type backend struct {
	Name    string   `json:"name"`
	Built   bool     `json:"built"`
	Devices []string `json:"devices"`
	Reason  string   `json:"reason,omitempty"` // why there is no device
}

// cpuBuild is what products of matrices run on where there is no GPU.
type cpuBuild struct {
	Name     string   `json:"name"`
	Features []string `json:"features"`
	Products string   `json:"products"` // what multiplies matrices
	OpenBLAS string   `json:"openblas"` // its version; "" where it is not found
}

// source is what the binary was built from.
func source() build {
	b := build{Version: builtVersion, Commit: builtCommit, Time: builtTime, Dirty: builtDirty == "true", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Tags: []string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	stamped := b.Version == ""
	if stamped {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "-tags":
			b.Tags = strings.Split(s.Value, ",")
		case s.Key == "CGO_ENABLED":
			b.Cgo = s.Value == "1"
		case stamped && s.Key == "vcs.revision":
			b.Commit = s.Value
		case stamped && s.Key == "vcs.time":
			b.Time = s.Value
		case stamped && s.Key == "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	return b
}

// version is the one line that a run and its page are marked with.
func version() string {
	b := source()
	v := b.Version
	if v == "" {
		v = "unknown"
	}
	if b.Commit != "" && !strings.Contains(v, b.Commit[:min(8, len(b.Commit))]) {
		v += " " + b.Commit[:min(12, len(b.Commit))]
	}
	return v + " " + b.Go
}

// backends asks every backend what it finds here.
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
			found.Reason = oneLine(err)
		case len(infos) == 0:
			found.Reason = "no device found"
		}
		all = append(all, found)
	}
	return all
}

func (a *app) printVersion() error {
	b, host := source(), cpu.Open(a.threads).Info()
	b.Backends = backends(host)
	b.CPU = cpuBuild{Name: host.Name, Features: append([]string{}, host.Features...), Products: host.Driver, OpenBLAS: cpu.OpenBLAS()}
	if a.json {
		return a.result(b)
	}
	w := a.stdout
	fmt.Fprintf(w, "vlmtool   %s\n", b.Version)
	if b.Commit != "" {
		changed := ""
		if b.Dirty {
			changed = ", with changes that are not in it"
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
			has = "no device here: " + backend.Reason
		}
		fmt.Fprintf(w, "%-9s %s\n", backend.Name, printable(strings.TrimPrefix(has, "cpu: ")))
	}
	features := strings.Join(b.CPU.Features, " ")
	if features == "" {
		features = "none that the kernels use"
	}
	blas := b.CPU.OpenBLAS
	if blas == "" {
		blas = "not found"
	}
	fmt.Fprintf(w, "vectors   %s\nproducts  by %s; OpenBLAS %s\n", features, b.CPU.Products, strings.TrimPrefix(blas, "OpenBLAS "))
	return nil
}

// commitDay is when the source was as it is, for man pages; "" where it is not known.
func commitDay() string {
	t, err := time.Parse(time.RFC3339, source().Time)
	if err != nil {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}
