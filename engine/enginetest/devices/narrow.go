package devices

import "patchwork/engine"

// Narrow is a device with a lower limit of binding sizes.
type Narrow struct {
	engine.Device
	Limit   int64          // bytes of one binding
	Divided map[string]int // dispatches that were divided for it, by kernel
}

// NewNarrow limits the bindings of a device to limit bytes.
func NewNarrow(dev engine.Device, limit int64) Narrow { return Narrow{dev, limit, map[string]int{}} }

// Info describes the device with the limit.
func (n Narrow) Info() engine.Info {
	i := n.Device.Info()
	i.Limits.MaxBindingBytes = n.Limit
	return i
}

// Compile divides the plan before the device compiles it.
func (n Narrow) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	for _, d := range p.Dispatches {
		for _, v := range d.Views {
			if v.Bytes > n.Limit {
				n.Divided[d.Kernel.Name]++
				break
			}
		}
	}
	return n.Device.Compile(p.Within(n.Limit), arena)
}
