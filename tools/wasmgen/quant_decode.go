package main

import (
	"fmt"

	"patchwork/tools/wasmgen/wasm"
)

func defineQuantDecode(m *wasm.Module) {
	for _, b := range blockFormats {
		name := "decode" + b.name
		d := quantDecode{b, m.Function(name, "func(dst *float32, ldd int32, src *byte, lds, rows, group int32)",
			fmt.Sprintf("%s decodes a group of some blocks; see Decoder.", name))}
		d.define()
	}
}

// quantDecode generates the decoding of 32 values of each of some blocks.
type quantDecode struct {
	blockFormat
	*wasm.Function
}

func (d quantDecode) define() {
	dst, src, rows := d.Param("dst"), d.Param("src"), d.Param("rows")
	ldd := d.Int(d.Param("ldd").Shl(2))
	d.Loop(func() wasm.I32 {
		if !d.large {
			halves := d.Vec(src.LoadSplat(0))
			scale, low := widenF16(d.Function, halves.I32x4Shl(16)), widenF16(d.Function, halves)
			d.write(dst, d.unpack(d.Function, src, 0), [2]wasm.V128{scale, scale}, low)
		} else {
			d.groups(dst, src)
		}
		d.Set(dst, dst.Add(ldd))
		d.Set(src, src.Add(d.Param("lds")))
		d.Set(rows, rows.Sub(wasm.Int(1)))
		return rows
	})
}

// groups decodes the group that is asked for.
func (d quantDecode) groups(dst, src wasm.I32) {
	scales := d.groupScales(d.Function, src)
	for group := range 8 {
		d.If(d.Param("group").Eq(wasm.Int(group)), func() {
			v := d.unpack(d.Function, src, group)
			if d.halves() {
				d.write(dst, v, [2]wasm.V128{d.lane(scales, 2*group), d.lane(scales, 2*group+1)}, nil)
				return
			}
			scale := d.lane(scales, group)
			d.write(dst, v, [2]wasm.V128{scale, scale}, d.Vec(d.lane(scales, 8+group).F32x4Neg()))
		})
	}
}

// lane is scale i, in every lane.
func (d quantDecode) lane(scales func(i int) wasm.V128, i int) wasm.V128 {
	n := byte(i % 4)
	four := d.Vec(scales(i / 4))
	return d.Vec(four.Words(four, [4]byte{n, n, n, n}))
}

// write stores the scale of each 16 values times them, plus a minimum if the format has one.
func (d quantDecode) write(dst wasm.I32, v [2]wasm.V128, scales [2]wasm.V128, low wasm.V128) {
	for i, bytes := range v {
		eights := []wasm.V128{bytes.I16x8ExtendLowU(), bytes.I16x8ExtendHighU()}
		if d.signed() || d.offset != 0 {
			q := d.Vec(bytes.I8x16Sub(d.Const(wasm.Repeat(byte(d.offset)))))
			eights = []wasm.V128{q.I16x8ExtendLowS(), q.I16x8ExtendHighS()}
		}
		for j, eight := range eights {
			w := d.Vec(eight)
			for l, four := range []wasm.V128{w.I32x4ExtendLowS(), w.I32x4ExtendHighS()} {
				x := four.F32x4ConvertI32x4S().F32x4Mul(scales[i])
				if d.min {
					x = x.F32x4Add(low)
				}
				d.Store(dst, 64*i+32*j+16*l, x)
			}
		}
	}
}
