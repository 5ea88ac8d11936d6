package vlm

import (
	"fmt"
	"slices"
	"strings"

	"patchwork/nn"
)

// Adapter describes LoRA adapters of a decoder's Linear layers.
type Adapter struct {
	Rank    int      `json:"rank"`
	Alpha   float64  `json:"alpha"`   // outputs are scaled by Alpha/Rank
	Targets []string `json:"targets"` // some of AdapterTargets
}

// maxAdapterRank limits an adapter's rank.
const maxAdapterRank = 4096

// adapterTargets are the layers of each target, by their names in a decoder layer.
var adapterTargets = map[string][]string{
	"attention": {"q_proj", "k_proj", "v_proj", "o_proj"},
	"mlp":       {"gate_proj", "up_proj", "down_proj"},
}

// AdapterTargets are the values of Adapter.Targets.
var AdapterTargets = []string{"attention", "mlp"}

// Check returns an error for a setting that is not valid. The receiver may be nil.
func (a *Adapter) Check() error {
	switch {
	case a == nil:
		return nil
	case a.Rank < 1 || a.Rank > maxAdapterRank:
		return fmt.Errorf("adapter: the rank is %d, want 1 to %d", a.Rank, maxAdapterRank)
	case !(a.Alpha > 0) || a.Alpha > 1e6:
		return fmt.Errorf("adapter: alpha is %g, want a number above 0", a.Alpha)
	case len(a.Targets) == 0:
		return fmt.Errorf("adapter: there are no targets; want some of %s", strings.Join(AdapterTargets, ", "))
	}
	for _, t := range a.Targets {
		if adapterTargets[t] == nil {
			return fmt.Errorf("adapter: target %q is not known; want some of %s", t, strings.Join(AdapterTargets, ", "))
		}
	}
	return nil
}

// Modules are the names of the layers with adapters, as PEFT's target_modules.
func (a *Adapter) Modules() []string {
	var modules []string
	for _, t := range AdapterTargets {
		if slices.Contains(a.Targets, t) {
			modules = append(modules, adapterTargets[t]...)
		}
	}
	return modules
}

// adapt declares the adapter of a layer, nil where it has none. name is that of its weight.
func (a *Adapter) adapt(d nn.Declarer, weight *nn.Param) *nn.LoRA {
	name := strings.TrimSuffix(weight.Name, ".weight")
	if a == nil || !slices.Contains(a.Modules(), name[strings.LastIndexByte(name, '.')+1:]) {
		return nil
	}
	d.Group = GroupAdapter
	return d.LoRA(name, weight.Shape[1], weight.Shape[0], a.Rank, float32(a.Alpha/float64(a.Rank)))
}

// Adapters returns the adapters by the names of the weights that they belong to.
func (m *Model) Adapters() map[string]*nn.LoRA {
	adapters := map[string]*nn.LoRA{}
	for i := range m.decoder.layers {
		for _, l := range m.decoder.layers[i].linears() {
			if l.Adapter != nil {
				adapters[l.Weight.Name] = l.Adapter
			}
		}
	}
	return adapters
}
