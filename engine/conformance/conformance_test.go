package conformance

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

func openCPU(t *testing.T) engine.Device {
	t.Helper()
	dev := cpu.Open(0)
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// addCase adds n numbers.
func addCase(n int, rtol float64) shaders.Case {
	return shaders.Case{
		Name: "made up", Params: shaders.AccumulateParams{N: shaders.N(n)}, Rtol: rtol,
		Inputs: []shaders.Input{{N: n, Scale: 1}, {N: n, Scale: 1}},
	}
}

// TestStatus: the case fails with a tolerance of 0. A declared failure makes XFail of a
// failure with the declared error, and XPass of a pass.
func TestStatus(t *testing.T) {
	dev := openCPU(t)
	known := func(device, message string) Known {
		return Known{Device: regexp.MustCompile(device), Kernel: "accumulate", Case: regexp.MustCompile("made up"), Error: regexp.MustCompile(message), Reason: "why " + message}
	}
	inY, inX := known("^cpu ", "^binding y: .* elements are wrong"), known("^cpu ", "^binding x:")
	for _, c := range []struct {
		name  string
		rtol  float64
		known []Known
		want  Status
	}{
		{"passes", 1e-6, nil, Passed},
		{"fails", 0, nil, Failed},
		{"fails as declared", 0, []Known{inY}, XFail},
		{"declared with another error", 0, []Known{inX}, Failed},
		{"declared with either error", 0, []Known{inX, inY}, XFail},
		{"declared for another device", 0, []Known{known("^vulkan", "")}, Failed},
		{"declared and passes", 1e-6, []Known{inX}, XPass},
	} {
		prepared := Prepare(shaders.Accumulate, addCase(9, c.rtol))
		r := try(t.Context(), c.known, dev, shaders.Accumulate, VariantsOf(dev, shaders.Accumulate, prepared.Case)[0], prepared)
		if r.Status() != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, r.Status(), r.Err, c.want)
		}
		if c.want == XFail && r.Known != inY.Reason {
			t.Errorf("%s: the reason is %q", c.name, r.Known)
		}
	}
}

// TestGuards: a call that does more than its case holds is caught at the guard.
func TestGuards(t *testing.T) {
	prepared := Prepare(shaders.Accumulate, addCase(9, 1e-6))
	prepared.Params = shaders.AccumulateParams{N: shaders.N(10)}
	_, err := Check(t.Context(), openCPU(t), shaders.Accumulate, prepared)
	if err == nil || !strings.Contains(err.Error(), "binding y: wrote outside its bounds") {
		t.Errorf("got %v", err)
	}
}

// TestTable compares the printed table of made-up results.
func TestTable(t *testing.T) {
	table := NewTable()
	wrong := &MismatchError{&engine.OutOfMemoryError{What: "x"}}
	for _, r := range []struct {
		device string
		Result
	}{
		{"cpu", Result{Kernel: "add", Variant: "plain", Case: "a", Worst: 0.25}},
		{"cpu", Result{Kernel: "add", Variant: "plain", Case: "b", Worst: 0.5}},
		{"gpu", Result{Kernel: "add", Variant: "plain", Case: "a", Worst: 0.75}},
		{"gpu", Result{Kernel: "add", Variant: "plain", Case: "b", Err: wrong, Known: "a driver bug"}},
		{"gpu", Result{Kernel: "add", Variant: "lanes", Case: "a", Err: wrong}},
		{"gpu", Result{Kernel: "add", Variant: "lanes", Case: "b", Known: "a driver bug"}},
	} {
		table.Add(r.device, r.Result)
	}
	var w strings.Builder
	if err := table.Print(&w); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 ok 0.50", "1 ok 0.75, 1 known", "0 of 2 FAIL", "–",
		"Failed:\n  gpu add lanes, case \"a\": ", "Declared to fail, but passed", "Known failures:\n  gpu add plain, case \"b\": a driver bug: ",
	} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, w.String())
		}
	}
	if table.Count(Failed) != 1 || table.Count(XPass) != 1 || table.Count(XFail) != 1 || table.Count(Passed) != 3 {
		t.Errorf("counts are wrong: %d failed", table.Count(Failed))
	}
}

// TestUndefineds: every declaration names a kernel, a binding and special values that exist.
func TestUndefineds(t *testing.T) {
	for _, u := range Undefineds {
		k := slices.IndexFunc(shaders.All(), func(k *shaders.Kernel) bool { return k.Name == u.Kernel })
		if k < 0 || !slices.ContainsFunc(shaders.All()[k].Bindings, func(b shaders.Binding) bool { return b.Name == u.Binding }) {
			t.Errorf("%s: no such kernel or binding", u)
		}
		for _, v := range u.Values {
			if !slices.ContainsFunc(specials, func(s special) bool { return s.name == v }) {
				t.Errorf("%s: no such value", u)
			}
		}
	}
	for _, name := range squares {
		if !slices.ContainsFunc(shaders.All(), func(k *shaders.Kernel) bool { return k.Name == name }) {
			t.Errorf("squares names %s, which is not a kernel", name)
		}
	}
}

// oneLine are passes whose grids no case makes longer than 65535 workgroups, by
// kernel and entry point, with the reason.
var oneLine = map[string]string{
	"clip_factor main":          "has one workgroup",
	"sum main":                  "has one workgroup",
	"sum_squares main":          "has one workgroup",
	"sum chunks":                "65536 chunks of 16384 elements are 4 GiB",
	"sum_squares chunks":        "65536 chunks of 16384 elements are 4 GiB",
	"attention_backward deltas": "would take 4 million queries",
	"attention_backward tiles":  "would take 4 million queries",
	"attention_backward main":   "uses cooperative matrices; with heads of 8 columns it would take 20 MiB per binding",
	"append_quant main":         "would take 134 million elements",
	"attention_quant main":      "has the sources and the grids of attention",
	"embed_quant main":          "would take 33 million elements",
	"peak_fma main":             "a benchmark; would take 33 million elements",
	"rmsnorm_backward chunks":   "rows of 4 million columns end a loop early on llvmpipe",
	"rmsnorm_backward total":    "rows of 4 million columns end a loop early on llvmpipe",

	"rope_split_norm_backward chunks": "would take half a million tokens",
	"rope_split_norm_backward total":  "heads of 2 million columns end a loop early on llvmpipe",
}

// TestCoverage: every kernel has cases without rows where the step block sets them, with
// more than 65535 workgroups in every pass, and for every variant.
func TestCoverage(t *testing.T) {
	for _, k := range shaders.All() {
		cases := Cases(k)
		if len(cases) == 0 {
			t.Errorf("%s has no cases", k.Name)
			continue
		}
		if hasCount(cases[0].Params) && !slices.ContainsFunc(cases, func(c shaders.Case) bool { return isEmpty(k, c) }) {
			t.Errorf("%s has no case in which the step block sets no rows", k.Name)
		}
		for _, pass := range shortPasses(t, k, cases) {
			if oneLine[pass] == "" {
				t.Errorf("%s has no case beyond 65535 workgroups", pass)
			}
		}
		for i := range k.Variants {
			v := &k.Variants[i]
			if !slices.ContainsFunc(cases, func(c shaders.Case) bool {
				return slices.Contains(k.Runnable(c.Params, c.Storage, targetOf(t, k, v)), v)
			}) {
				t.Errorf("%s: no case for this variant", k.ID(v))
			}
		}
	}
}

// targetOf is a device that has what a variant needs.
func targetOf(t *testing.T, k *shaders.Kernel, v *shaders.Variant) shaders.DeviceCaps {
	t.Helper()
	if v.Cooperative != nil {
		return v.Cooperative.Caps(v.Storage.Type)
	}
	needs, err := k.Requirements(v)
	if err != nil {
		t.Fatal(err)
	}
	if needs.Subgroup {
		return shaders.DeviceCaps{Subgroup: needs.Invocations}
	}
	return shaders.DeviceCaps{}
}

func hasCount(params any) bool {
	v := reflect.ValueOf(params)
	for i := range v.NumField() {
		if _, ok := v.Field(i).Interface().(shaders.Count); ok {
			return true
		}
	}
	return false
}

// isEmpty reports whether a Count of a case is 0 under its step.
func isEmpty(k *shaders.Kernel, c shaders.Case) bool {
	block := kernelcheck.StepBlock(c.Step)
	v := reflect.ValueOf(k.AtStep(c.Params, block[:]))
	for i := range v.NumField() {
		if n, ok := v.Field(i).Interface().(shaders.Count); ok && n.Max == 0 {
			return true
		}
	}
	return false
}

// shortPasses are the entry points whose grids stay in one line in all cases.
func shortPasses(t *testing.T, k *shaders.Kernel, cases []shaders.Case) []string {
	long := map[string]bool{}
	for i := range k.Variants {
		for _, p := range k.Variants[i].Passes {
			name := k.Name + " " + p.EntryPoint()
			for _, c := range cases {
				runs := slices.Contains(k.Runnable(c.Params, c.Storage, targetOf(t, k, &k.Variants[i])), &k.Variants[i])
				long[name] = long[name] || runs && p.Grid(c.Params)[1] > 1
			}
		}
	}
	var short []string
	for name, ok := range long {
		if !ok {
			short = append(short, name)
		}
	}
	slices.Sort(short)
	return short
}

// TestKnownFailures: every declaration has a device, a kernel, a case, an error and a reason.
func TestKnownFailures(t *testing.T) {
	for i, f := range KnownFailures {
		kernel := slices.ContainsFunc(shaders.All(), func(k *shaders.Kernel) bool { return k.Name == f.Kernel })
		if f.Device == nil || !kernel || f.Case == nil || f.Error == nil || f.Reason == "" {
			t.Errorf("KnownFailures[%d] is incomplete: %+v", i, f)
		}
	}
}
