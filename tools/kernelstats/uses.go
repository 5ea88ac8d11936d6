package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm/train"
)

// use is a variant with the parameters of a recorded call that a device would run it for.
type use struct {
	kernel  *shaders.Kernel
	variant *shaders.Variant
	params  any
	work    string // the first that has it: "smollm2-135m train f32"
	chosen  bool   // by the device's class; else it only fits
}

// selection is what to compile.
type selection struct {
	presets, works, dtypes []string
	kernel, variant        *regexp.Regexp
	all                    bool // every variant that fits
}

// recording is a preset's recorded work in a type.
type recording struct {
	name string // "smollm2-135m train f32"
	train.Recording
}

// record records the work of the selection.
func (s selection) record(info engine.Info) (all []recording, err error) {
	for _, preset := range s.presets {
		recipe, err := train.Preset(preset)
		if err != nil {
			return nil, err
		}
		for _, dtype := range s.dtypes {
			if _, ok := shaders.ParseType(dtype); !ok {
				return nil, fmt.Errorf("--dtypes has %q, want f32, bf16 or f16", dtype)
			}
			recipe.DType = dtype
			for _, work := range s.works {
				if !slices.Contains(train.WorkKinds, work) {
					return nil, fmt.Errorf("--work has %q, want train, prefill or decode", work)
				}
				recorded, err := train.RecordWork(recipe, work, kind(info), recipe.BatchSize, recipe.SeqLen)
				if err != nil {
					return nil, fmt.Errorf("preset %s: %w", preset, err)
				}
				all = append(all, recording{preset + " " + work + " " + dtype, recorded})
			}
		}
	}
	return all, nil
}

// kind is the kind of device whose work is recorded: a null device stands for a GPU.
func kind(info engine.Info) string {
	if info.Kind == engine.Null {
		return "discrete"
	}
	return info.Kind
}

// uses are the distinct pipelines of recorded work, in the order of kernels and their
// variants. Calls of one variant whose constants are equal make one pipeline.
func (s selection) uses(info engine.Info, recordings []recording) ([]use, error) {
	found := uses{seen: map[string]int{}, caps: info.Caps()}
	for _, r := range recordings {
		for _, d := range withQuantised(r.Dispatches) {
			if !s.kernel.MatchString(d.Kernel.Name) {
				continue
			}
			chosen, _ := info.Choose(d.Kernel, d.Params, d.Storage)
			if chosen == nil {
				return nil, fmt.Errorf("%s: kernel %s: no variant for %+v", r.name, d.Kernel.Name, d.Params)
			}
			variants := []*shaders.Variant{chosen}
			if s.all {
				variants = append(variants, d.Kernel.Runnable(d.Params, d.Storage, found.caps)...)
			}
			for n, v := range variants {
				if s.variant.MatchString(v.Name) {
					found.add(use{d.Kernel, v, d.Params, r.name, n == 0})
				}
			}
		}
	}
	slices.SortStableFunc(found.all, compareUses)
	return found.all, nil
}

// uses collects distinct uses.
type uses struct {
	all  []use
	seen map[string]int
	caps shaders.DeviceCaps
}

func (f *uses) add(u use) {
	key := fmt.Sprint(u.kernel.ID(u.variant), u.variant.Constants(u.params, f.caps))
	if i, ok := f.seen[key]; ok {
		f.all[i].chosen = f.all[i].chosen || u.chosen
		return
	}
	f.seen[key] = len(f.all)
	f.all = append(f.all, u)
}

// compareUses orders by kernel name, and by the variants' order in their declaration.
func compareUses(a, b use) int {
	return cmp.Or(cmp.Compare(a.kernel.Name, b.kernel.Name), cmp.Compare(position(a), position(b)))
}

func position(u use) int {
	return slices.IndexFunc(u.kernel.Variants, func(v shaders.Variant) bool { return v.Name == u.variant.Name })
}
