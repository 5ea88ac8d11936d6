//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
)

// record records one command buffer per chunk. With stamps, every dispatch runs alone
// between two time stamps.
func (e *executable) record(stamps *profile) ([]vk.CommandBuffer, error) {
	d := e.device
	ends := engine.SubmitChunks(e.Plan.Dispatches, d.physical.info.Class)
	if len(ends) == 0 {
		return nil, nil
	}
	commands, err := d.newCommands(len(ends))
	if err != nil {
		return nil, err
	}
	first := 0
	for i, end := range ends {
		err := d.record(commands[i], func(c vk.CommandBuffer) {
			if first == 0 {
				d.barrier(c, everything)
				stamps.reset(c)
			}
			for n := first; n < end; n++ {
				e.recordCall(c, n, stamps)
			}
			if end == len(e.calls) {
				d.barrier(c, toHost)
			}
		})
		if err != nil {
			d.freeCommands(commands)
			return nil, err
		}
		first = end
	}
	return commands, nil
}

// recordCall records one dispatch: its passes with a barrier between them.
func (e *executable) recordCall(c vk.CommandBuffer, n int, stamps *profile) {
	call := &e.calls[n]
	if e.Plan.Barrier[n] || stamps != nil {
		e.device.barrier(c, betweenDispatches)
	}
	stamps.mark(c, 2*n)
	layout := call.build.layout.pipeline
	vk.CmdBindDescriptorSets(c, vk.PipelineBindPointCompute, layout, 0, 1, []vk.DescriptorSet{call.set}, 0, nil)
	for i, grid := range call.Grids {
		if i > 0 {
			e.device.barrier(c, betweenDispatches)
		}
		vk.CmdBindPipeline(c, vk.PipelineBindPointCompute, call.pipelines[i])
		vk.CmdDispatch(c, grid[0], grid[1], grid[2])
	}
	stamps.mark(c, 2*n+1)
}
