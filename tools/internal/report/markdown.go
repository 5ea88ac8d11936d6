package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"patchwork/engine"
)

// Markdown writes the report as a page.
func (r *Report) Markdown(w io.Writer) {
	d := r.Device
	fmt.Fprintf(w, "# %s\n\n", cmp.Or(d.Name, "no Vulkan device"))
	fmt.Fprintf(w, "%s, patchwork %s, driver %s, Vulkan %s.", cmp.Or(r.Date, "no date"), cmp.Or(r.Version, "unknown"), cmp.Or(d.Driver, "unknown"), cmp.Or(d.API, "unknown"))
	if r.Peer.Name != "" {
		fmt.Fprintf(w, " Peer: %s on %s, in the same run.\n\n", r.Peer.Name, r.Peer.On)
	} else {
		fmt.Fprintf(w, " No peer: %s. Its columns are empty.\n\n", cmp.Or(r.Peer.Why, "python3 has no PyTorch"))
	}
	fmt.Fprint(w, "Ours is timed by the device's clock in matmuls and kernels, by the host's elsewhere; ratios are of speeds: above 1, ours is faster. Weights and data are random.\n\n")
	r.writeFailures(w)
	r.writeGoals(w)
	r.writeDevice(w)
	r.writeConformance(w)
	r.writePeerCases(w)
	r.writeTrain(w)
	r.writeGeneration(w)
	r.writeStep(w)
	r.writeKernels(w)
	r.writeVariants(w)
	r.writeLearn(w)
	r.writeParts(w)
}

// table writes a table, or that it is empty.
func table(w io.Writer, title, about string, columns []string, rows [][]string) {
	fmt.Fprintf(w, "## %s\n\n", title)
	if len(rows) == 0 {
		fmt.Fprint(w, "Not measured.\n\n")
		return
	}
	if about != "" {
		fmt.Fprintf(w, "%s\n\n", about)
	}
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", "\\|")
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(w)
}

// figure formats a number with three digits; 0 is –.
func figure(x float64) string {
	switch {
	case x == 0:
		return "–"
	case x < 1:
		return fmt.Sprintf("%.2g", x)
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// unit is the unit of rates; a software device is a thousand times slower.
func (r *Report) unit() string {
	if r.Device.Hardware() {
		return "TFLOP/s"
	}
	return "GFLOP/s"
}

// rate formats GFLOP/s in the report's unit.
func (r *Report) rate(gflops float64) string {
	if r.Device.Hardware() {
		return figure(gflops / 1e3)
	}
	return figure(gflops)
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

// outcome is how a part ended.
func (p Part) outcome() string {
	switch p.Code {
	case 0:
		return "done"
	case killed:
		if p.Seconds < p.Limit {
			return fmt.Sprintf("killed after %d s", p.Seconds)
		}
		fallthrough
	case stopped:
		return fmt.Sprintf("stopped at its limit of %d s", p.Limit)
	case notStarted:
		return "not started: the run's time was up"
	}
	return "failed"
}

func (r *Report) writeFailures(w io.Writer) {
	wrote := false
	for _, p := range r.Parts {
		if p.Code == 0 {
			continue
		}
		why := ""
		if p.Why != "" {
			why = ": " + p.Why
		}
		fmt.Fprintf(w, "- **%s** %s%s\n", p.Name, p.outcome(), why)
		wrote = true
	}
	if wrote {
		fmt.Fprintln(w)
	}
}

func (r *Report) writeGoals(w io.Writer) {
	about := ""
	if !r.Device.Hardware() {
		about = "The goals are for an H100 or H200 and do not apply to this software device."
	}
	var rows [][]string
	for _, g := range r.Goals {
		verdict := "**not met**"
		switch {
		case g.Missing != "":
			verdict = g.Missing
		case g.Met():
			verdict = "met"
		}
		measured := figure(g.Measured)
		if g.Missing == "" && g.Measured == 0 {
			measured = "0"
		}
		rows = append(rows, []string{g.What, g.Want, measured, verdict})
	}
	table(w, "Goals", about, []string{"metric", "goal", "measured", ""}, rows)
}

// wanted are the features that decide which variants a device can run.
var wanted = []string{"shaderFloat16", "shaderBFloat16Type", "shaderBFloat16CooperativeMatrix", "cooperativeMatrix", "VK_NV_cooperative_matrix2",
	"cooperativeMatrixWorkgroupScope", "cooperativeMatrixFlexibleDimensions", "cooperativeMatrixTensorAddressing", "VK_NV_cuda_kernel_launch",
	"storageBuffer16BitAccess", "subgroupSizeControl", "vulkanMemoryModel", "timestampQueries"}

func (r *Report) writeDevice(w io.Writer) {
	var rows [][]string
	row := func(what, value string) { rows = append(rows, []string{what, value}) }
	for _, d := range r.Devices {
		row(d.Device, fmt.Sprintf("%s (%s), %s", d.Name, d.Kind, d.Driver))
	}
	l := r.Device.Limits
	row("memory", fmt.Sprintf("%s; a binding %s, an allocation %s", engine.Bytes(r.Device.Memory), engine.Bytes(l.MaxBindingBytes), engine.Bytes(l.MaxAllocationBytes)))
	row("workgroup", fmt.Sprintf("%d invocations, %d KiB of memory, subgroups of %d", l.MaxInvocations, l.MaxWorkgroupMemory>>10, l.SubgroupSize))
	for _, name := range wanted {
		offered := "no"
		if slices.Contains(r.Device.Features, name) {
			offered = "yes"
		}
		row(name, offered)
	}
	row("all features", strings.Join(r.Device.Features, " "))
	if r.Machine != "" {
		row("machine", strings.ReplaceAll(r.Machine, "\n", "; "))
	}
	table(w, "Devices", "", []string{"", ""}, rows)
}

func (r *Report) writeConformance(w io.Writer) {
	var rows [][]string
	passed, failed := 0, 0
	for _, o := range r.Conformance {
		passed, failed = passed+o.Passed, failed+o.Failed
		which := ""
		if len(o.Which) > 0 {
			which = cut(strings.Join(o.Which, ", "), 200)
		}
		rows = append(rows, []string{o.Kernel, fmt.Sprint(o.Passed), fmt.Sprint(o.Failed), fmt.Sprint(o.Skipped), which})
	}
	table(w, "Conformance", fmt.Sprintf("Every case in every variant against a float64 reference on the device: %d passed, %d failed.", passed, failed),
		[]string{"kernel", "passed", "failed", "skipped", "failures"}, rows)
}

func (r *Report) writePeerCases(w io.Writer) {
	var rows [][]string
	for _, p := range r.PeerCases {
		ratio := figure(p.Ratio)
		if p.Skipped != "" {
			ratio = cut(p.Skipped, 160)
		}
		rows = append(rows, []string{p.Kernel, shape(p.Case), p.DType, cmp.Or(p.Variant, "–"), figure(p.US), r.rate(p.GFLOPs), r.rate(p.PeerGF), ratio})
	}
	table(w, "Matmuls and causal attention compared with cuBLAS and SDPA", "Interleaved case by case; the minimum time of each. Rates count the same work for both.",
		[]string{"kernel", "case", "type", "variant", "µs", r.unit(), "peer's", "ratio"}, rows)
}

// shape is a case's name without the common parts.
func shape(name string) string {
	var parts []string
	for _, p := range strings.Split(name, "/") {
		if p != "batch=1" && p != "bf16" && p != "f16" && p != "transb=1" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " ")
}

func (r *Report) writeTrain(w io.Writer) {
	var rows [][]string
	add := func(preset, kind, who string, rowsOf, seq int, ms, tokens, gflops float64, memory int64, ratio float64, failure string) {
		size := fmt.Sprintf("%d×%d", rowsOf, seq)
		if rowsOf == 0 {
			size = "–"
		}
		gigabytes := "–"
		if memory > 0 {
			gigabytes = figure(float64(memory) / 1e9)
		}
		rows = append(rows, []string{preset, who, kind, size, figure(ms), figure(tokens), r.rate(gflops), gigabytes, cmp.Or(failure, figure(ratio))})
	}
	for _, t := range r.Train {
		peer := r.peerTrain(t.Preset, t.DType)
		ratio := 0.0
		if peer != nil && peer.TokensPerS > 0 {
			ratio = t.TokensPerS / peer.TokensPerS
		}
		add(t.Preset, t.DType, "ours", t.BatchSize, t.SeqLen, t.MS, t.TokensPerS, t.GFLOPs, t.Memory, ratio, "")
	}
	for _, p := range r.PeerTrain {
		add(p.Preset, p.Mode, "peer", p.BatchSize, p.SeqLen, p.MS, p.TokensPerS, 0, p.Memory, 0, cut(p.Error, 160))
	}
	slices.SortStableFunc(rows, func(a, b []string) int {
		return cmp.Or(cmp.Compare(presetOrder(a[0]), presetOrder(b[0])), cmp.Compare(strings.Split(a[2], "-")[0], strings.Split(b[2], "-")[0]))
	})
	table(w, "A training step", "Forward, backward, clipping and AdamW; half of a row's tokens are image tokens. The ratio is to the peer's eager mode in the same type.",
		[]string{"preset", "", "type", "rows×tokens", "ms", "tokens/s", r.unit(), "GB of memory", "ratio"}, rows)
}

// presetOrder sorts presets by size.
func presetOrder(preset string) int {
	if i := slices.Index(goalPresets, preset); i >= 0 {
		return i
	}
	return -1
}

func (r *Report) writeGeneration(w io.Writer) {
	var rows [][]string
	for _, i := range r.Infer {
		ratio := 0.0
		if p := find(r.PeerDecode, func(p PeerRun) bool { return p.Preset == i.Preset && p.Mode == "bf16" }); p != nil && p.TokensPerS > 0 {
			ratio = i.TokensPerS / p.TokensPerS
		}
		rows = append(rows, []string{i.Preset, "ours", i.DType, figure(i.PrefillMS), figure(i.TokensPerS), percent(i.CopyFraction), figure(ratio)})
	}
	for _, p := range r.PeerDecode {
		rows = append(rows, []string{p.Preset, "peer", p.Mode, figure(p.PrefillMS), figure(p.TokensPerS), "–", cut(p.Error, 160)})
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return cmp.Compare(presetOrder(a[0]), presetOrder(b[0])) })
	table(w, "Generation, one sequence", "The peer is transformers' generate. The ratio is to its bf16; the fraction of copy is the rate of weights read over the device's copy bandwidth.",
		[]string{"preset", "", "type", "ms to the first token", "tokens/s", "fraction of copy", "ratio"}, rows)
	rows = nil
	for _, e := range r.Embedder {
		ratio, _ := r.embedderRatio(&e)
		rows = append(rows, []string{"embedder of " + e.Preset, "ours", e.DType, fmt.Sprint(e.BatchSize), figure(e.MS), figure(e.ImagesPerS), figure(ratio)})
	}
	for _, p := range r.PeerPixels {
		what := "embedder of " + p.Preset
		if p.Bench == "siglip" {
			what = "SigLIP-B/16-512's encoder"
		}
		rows = append(rows, []string{what, "peer", p.Mode, fmt.Sprint(p.BatchSize), figure(p.MS), figure(p.ImagesPerS), cut(p.Error, 160)})
	}
	table(w, "Image embedder", "The ratio is to SigLIP's encoder in bf16. Ours takes pixels from the host's memory, the peer from the device's.",
		[]string{"", "", "type", "batch", "ms", "images/s", "ratio"}, rows)
}

func (r *Report) writeStep(w io.Writer) {
	var rows [][]string
	for _, t := range r.Train {
		idle := "no device clock"
		if t.KernelMS > 0 {
			idle = percent(t.Idle)
		}
		rows = append(rows, []string{t.Preset, t.DType, fmt.Sprint(t.Dispatches), fmt.Sprint(t.Barriers), fmt.Sprint(t.Submits), figure(t.MS), figure(t.KernelMS), idle, figure(t.FirstMS / 1e3)})
	}
	table(w, "The device in a step", "Kernels are timed one after another in a separate step. Idle is the rest of the median step, 0 where kernels overlap by more than that.",
		[]string{"preset", "type", "dispatches", "barriers", "submits", "step, ms", "kernels, ms", "idle", "first step, s"}, rows)
	rows = nil
	for _, t := range r.Train {
		for _, k := range t.Kernels[:min(6, len(t.Kernels))] {
			rows = append(rows, []string{t.Preset, t.DType, k.Kernel, fmt.Sprint(k.Calls), figure(k.MS), percent(k.MS / max(t.KernelMS, 1e-9)), r.rate(k.GFLOPs)})
		}
	}
	table(w, "The slowest kernels of a step", "", []string{"preset", "type", "kernel", "calls", "ms", "of the kernels", r.unit()}, rows)
}

func (r *Report) writeKernels(w io.Writer) {
	skipped, wrong := 0, 0
	shown := map[string]bool{}
	var rows [][]string
	for _, k := range r.Kernels {
		key := k.Preset + k.DType + k.Kernel
		switch {
		case k.Wrong != "":
			wrong++
			rows = append(rows, []string{k.Preset, k.DType, k.Kernel, shape(k.Case), k.Variant, "", "", "", "", "**" + cut(k.Wrong, 160) + "**"})
		case k.Skipped != "":
			skipped++
		case !shown[key] && k.Work != "conformance": // the slowest comes first
			shown[key] = true
			rows = append(rows, []string{k.Preset, k.DType, k.Kernel, shape(k.Case), cmp.Or(k.Variant, "plain"), figure(k.US), r.rate(k.GFLOPs), figure(k.GBs), percent(k.Roofline) + ", " + k.Bound, k.Checked})
		}
	}
	table(w, "Kernels at the presets' shapes", fmt.Sprintf("The slowest case of each, of %d; %d were skipped for lack of time or memory, %d were wrong. report.json has all.", len(r.Kernels), skipped, wrong),
		[]string{"preset", "type", "kernel", "case", "variant", "µs", r.unit(), "GB/s", "fraction of roofline", "checked"}, rows)
}

// writeVariants lists the variants of each case, the fastest first.
func (r *Report) writeVariants(w io.Writer) {
	all := slices.Clone(r.Variants)
	slices.SortStableFunc(all, func(a, b Kernel) int {
		return cmp.Or(cmp.Compare(a.Kernel, b.Kernel), cmp.Compare(a.Case, b.Case), cmp.Compare(a.US, b.US))
	})
	var rows [][]string
	for _, k := range all {
		switch {
		case k.Wrong != "":
			rows = append(rows, []string{k.Kernel, shape(k.Case), k.Variant, "", "**" + cut(k.Wrong, 160) + "**"})
		case k.Skipped == "":
			rows = append(rows, []string{k.Kernel, shape(k.Case), cmp.Or(k.Variant, "plain"), figure(k.US), r.rate(k.GFLOPs)})
		}
	}
	table(w, "Every variant of matmuls and attention", "These include the variants that tuning chooses from.", []string{"kernel", "case", "variant", "µs", r.unit()}, rows)
}

func (r *Report) writeLearn(w io.Writer) {
	var rows [][]string
	for _, l := range r.Learn {
		rows = append(rows, []string{l.DType, fmt.Sprint(l.Steps), fmt.Sprintf("%.4f", l.Loss), figure(l.TokensPerS)})
	}
	table(w, "Learning", "The shapes preset with the same data and seed in each type: the losses should be close.", []string{"type", "steps", "last loss", "tokens/s, reading included"}, rows)
}

func (r *Report) writeParts(w io.Writer) {
	var rows [][]string
	for _, p := range r.Parts {
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Seconds), p.outcome()})
	}
	table(w, "The run", "", []string{"part", "seconds", ""}, rows)
}
