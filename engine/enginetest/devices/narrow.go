package devices

import "patchwork/engine"

// Narrow is a device that says it binds less of a buffer than it can.
type Narrow struct {
	engine.Device
	Limit int64          // bytes of one binding
	Cut   map[string]int // dispatches that were cut for it, by kernel
}

// NewNarrow limits what a device binds to most bytes.
func NewNarrow(dev engine.Device, limit int64) Narrow { return Narrow{dev, limit, map[string]int{}} }

// Info describes the device with the limit.
func (n Narrow) Info() engine.Info {
	i := n.Device.Info()
	i.Limits.MaxBindingBytes = n.Limit
	return i
}

// Compile cuts the plan before the device sees it.
func (n Narrow) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	for _, d := range p.Dispatches {
		for _, v := range d.Views {
			if v.Bytes > n.Limit {
				n.Cut[d.Kernel.Name]++
				break
			}
		}
	}
	return n.Device.Compile(p.Within(n.Limit), arena)
}
