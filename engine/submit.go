package engine

import "patchwork/shaders"

// throughput is that of the slower devices of a class, with the time that one submitted
// chunk of a program should take on them: far below any watchdog's limit, and short enough
// that a cancelled run ends soon.
type throughput struct {
	flops, bytes float64 // a second
	seconds      float64
}

var throughputs = map[shaders.Class]throughput{
	shaders.Software:   {2e9, 1e9, 0.2},
	shaders.Integrated: {3e11, 2e10, 0.1},
	shaders.Discrete:   {5e12, 2e11, 0.1},
}

// maxChunk is the largest number of dispatches of a chunk.
const maxChunk = 256

// SubmitChunks divides a program into chunks to be submitted one after another on a
// device of a class, given by their ends.
func SubmitChunks(dispatches []Dispatch, class shaders.Class) (ends []int) {
	p := throughputs[class]
	seconds, first := 0.0, 0
	for i, d := range dispatches {
		cost := d.Cost(nil)
		seconds += max(cost.Flops/p.flops, cost.Bytes/p.bytes)
		if seconds >= p.seconds || i+1-first >= maxChunk || i+1 == len(dispatches) {
			ends, first, seconds = append(ends, i+1), i+1, 0
		}
	}
	return ends
}
