package kernelbench

import (
	"maps"

	"patchwork/engine"
	"patchwork/shaders"
)

// EachVariant calls f once for every variant that a device can run a case with, its own
// choice first, while the device chooses that variant for the case and for the kernel's
// conformance cases. The case passed to f has the variant in its name. On a device
// without variants f is called once.
func EachVariant(dev engine.Device, c *Case, f func(*Case) error) error {
	tunable, ok := dev.(engine.Tunable)
	if !ok {
		return f(c)
	}
	before := dev.Info().Choices
	defer tunable.SetChoices(before)
	for _, v := range ownFirst(dev.Info(), c) {
		choices := maps.Clone(before)
		if choices == nil {
			choices = shaders.Choices{}
		}
		for _, given := range c.Kernel.Cases() {
			choices[c.Kernel.Bucket(given.Params, c.Storage)] = v.Name
		}
		choices[c.Kernel.Bucket(c.Params, c.Storage)] = v.Name
		tunable.SetChoices(choices)
		one := *c
		one.Name += "/" + nameOf(v)
		if err := f(&one); err != nil {
			return err
		}
	}
	return nil
}

// ownFirst are the variants that a device can run a case with, its own choice first.
func ownFirst(info engine.Info, c *Case) (all []*shaders.Variant) {
	own, _ := info.Choose(c.Kernel, c.Params, c.Storage)
	if own != nil {
		all = append(all, own)
	}
	for _, v := range c.Kernel.Runnable(c.Params, c.Storage, info.Caps()) {
		if v != own {
			all = append(all, v)
		}
	}
	return all
}

func nameOf(v *shaders.Variant) string {
	if v.Name == "" {
		return "plain"
	}
	return v.Name
}
