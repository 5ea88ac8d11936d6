package conformance

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// classSetter is a device that can run the variants preferred for another class.
type classSetter interface{ SetClass(shaders.Class) }

// small is the number of elements up to which a case also runs in variants that only
// tuning chooses.
const small = 1 << 14

// Variant is a variant in which a device can run a call.
type Variant struct {
	Name   string // "" for the plain one, and on devices without variants
	class  shaders.Class
	bucket string // of the call, where no class chooses the variant
}

// VariantsOf returns every variant that some class would run a case with and, for a small
// case of 16 bits, every one that tuning may choose. On the CPU, which has no variants,
// there is a single one.
func VariantsOf(dev engine.Device, k *shaders.Kernel, c shaders.Case) []Variant {
	own := dev.Info().Class
	if _, ok := dev.(classSetter); !ok {
		return []Variant{{class: own}}
	}
	var variants []Variant
	seen := map[*shaders.Variant]bool{}
	classes := []shaders.Class{own, shaders.Software, shaders.Integrated, shaders.Discrete}
	if ownVariantsOnly(dev, c) {
		classes = classes[:1]
	}
	for _, class := range classes {
		target := dev.Info().Caps()
		target.Class, target.Tuned = class, nil
		if v, _ := k.ChooseFor(c.Params, c.Storage, target); v != nil && !seen[v] {
			seen[v] = true
			variants = append(variants, Variant{Name: v.Name, class: class})
		}
	}
	if c.Elements() > small || c.Storage.Bindings == 0 || ownVariantsOnly(dev, c) {
		return variants
	}
	for _, v := range k.Runnable(c.Params, c.Storage, dev.Info().Caps()) {
		if v.OnlyTuned(c.Params) && !seen[v] {
			variants = append(variants, Variant{Name: v.Name, class: own, bucket: k.Bucket(c.Params, c.Storage)})
		}
	}
	return variants
}

// ownVariantsOnly reports whether a case needs only the variants of the device's own
// class: the others differ from those of bf16 only in the type.
func ownVariantsOnly(dev engine.Device, c shaders.Case) bool {
	info := dev.Info()
	return info.Kind == "software" && len(info.Matrices) == 0 && c.Storage.Bindings != 0 && c.Storage.Type == shaders.F16
}

// With runs f while the device chooses the variant.
func (v Variant) With(dev engine.Device, f func()) {
	if d, ok := dev.(classSetter); ok {
		defer d.SetClass(dev.Info().Class)
		d.SetClass(v.class)
	}
	if d, ok := dev.(engine.Tunable); ok && v.bucket != "" {
		defer d.SetChoices(dev.Info().Choices)
		d.SetChoices(shaders.Choices{v.bucket: v.Name})
	}
	f()
}

// Label names the variant, "plain" where it has no name.
func (v Variant) Label() string {
	if v.Name == "" {
		return "plain"
	}
	return v.Name
}
