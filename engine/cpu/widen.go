package cpu

import (
	"unsafe"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// widenGrain is the number of elements worth a goroutine for conversion.
const widenGrain = 1 << 14

// run runs a call. CPU forms work on 32-bit floats: 16-bit bindings are converted before
// and rounded afterwards, once where several bindings share memory.
func (h *host) run(c *call) {
	switch {
	case c.storage.Bindings == 0:
		c.kernel.Run(h, c.params, c.buffers)
		return
	case c.kernel.RunNarrow(h, c.params, c.buffers, c.storage):
		return
	}
	buffers := make(shaders.Buffers, len(c.buffers))
	copy(buffers, c.buffers)
	widened := map[*byte]int{} // the first binding over some memory
	for i, b := range c.buffers {
		if c.storage.Bindings>>i&1 == 0 || len(b) == 0 {
			continue
		}
		if first, ok := widened[&b[0]]; ok && len(c.buffers[first]) == len(b) {
			buffers[i] = buffers[first]
			continue
		}
		widened[&b[0]] = i
		wide, release := h.Scratch(len(b) / 2)
		defer release()
		narrow := halves(b)
		h.Parallel(len(narrow), widenGrain, func(lo, hi int) {
			simd.Unpack(c.storage.Type.Format(), wide[lo:hi], narrow[lo:hi])
		})
		buffers[i] = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(wide))), 4*len(narrow))
	}
	c.kernel.Run(h, c.params, buffers)
	for _, i := range widened {
		h.narrow(c, i, buffers)
	}
}

// narrow rounds what the call wrote into binding i.
func (h *host) narrow(c *call, i int, buffers shaders.Buffers) {
	written := false
	for j := range buffers {
		same := len(buffers[j]) > 0 && &buffers[j][0] == &buffers[i][0]
		written = written || same && c.kernel.Bindings[j].Access != shaders.Read
	}
	if !written {
		return
	}
	wide, narrow := buffers.F32(i), halves(c.buffers[i])
	h.Parallel(len(narrow), widenGrain, func(lo, hi int) {
		simd.Pack(c.storage.Type.Format(), narrow[lo:hi], wide[lo:hi])
	})
}

func halves(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}
