package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peakChains is the number of independent multiply-adds: enough for two units with a latency
// of four or five cycles, with registers left for the factors.
const peakChains = 12

// definePeak generates multiply-adds in registers, which measure the processor's peak.
func definePeak(c *build.Context) {
	for _, s := range []isa{avx2, avx512} {
		name := "fma" + s.name
		function(c, name, "func(x *float32, n int, a, b float32)",
			fmt.Sprintf("%s computes n times x = x·a + b for %d values.", name, peakChains*s.lanes))
		x, n := param(c, "x"), param(c, "n")
		a, b := s.broadcastParam(c, "a"), s.broadcastParam(c, "b")
		chains := make([]reg.Register, peakChains)
		for i := range chains {
			chains[i] = s.vector(c)
			s.load(c, operand.Mem{Base: x, Disp: i * s.bytes()}, nil, chains[i])
		}
		c.Label("loop")
		for _, v := range chains {
			c.VFMADD213PS(b, a, v)
		}
		c.DECQ(n)
		c.JNZ(operand.LabelRef("loop"))
		for i, v := range chains {
			s.store(c, v, nil, operand.Mem{Base: x, Disp: i * s.bytes()})
		}
		c.VZEROUPPER()
		c.RET()
	}
}
