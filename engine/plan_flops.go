package engine

// Flops is the work of a plan's dispatches under a step block, in floating-point operations.
func (p *Plan) Flops(step []uint32) float64 {
	var flops float64
	for i := range p.Dispatches {
		flops += p.Dispatches[i].Cost(step).Flops
	}
	return flops
}
