package main

import "patchwork/tools/wasmgen/wasm"

func defineTranspose(m *wasm.Module) {
	f := m.Function("transpose", "func(dst *float32, ldd int32, src *float32, lds, rows, cols int32)",
		"transpose writes the transpose of rows of cols values, both multiples of 4; strides count elements.")
	dst, src, rows, cols := f.Param("dst"), f.Param("src"), f.Param("rows"), f.Param("cols")
	ldd, lds := f.Int(f.Param("ldd").Shl(2)), f.Int(f.Param("lds").Shl(2))
	f.Loop(func() wasm.I32 {
		from, to, left := f.Int(src), f.Int(dst), f.Int(cols)
		f.Loop(func() wasm.I32 {
			var lines []wasm.V128
			at := f.Int(from)
			for range 4 {
				lines = append(lines, f.Vec(at.Load(0)))
				f.Set(at, at.Add(lds))
			}
			for _, line := range transposed(f, lines) {
				f.Store(to, 0, line)
				f.Set(to, to.Add(ldd))
			}
			f.Set(from, from.Add(wasm.Int(16)))
			f.Set(left, left.Sub(wasm.Int(4)))
			return left
		})
		f.Set(src, src.Add(lds.Shl(2)))
		f.Set(dst, dst.Add(wasm.Int(16)))
		f.Set(rows, rows.Sub(wasm.Int(4)))
		return rows
	})
}

// transposed is the transpose of four vectors of four words.
func transposed(f *wasm.Function, v []wasm.V128) []wasm.V128 {
	low, high := [4]byte{0, 4, 1, 5}, [4]byte{2, 6, 3, 7}
	a, b := f.Vec(v[0].Words(v[2], low)), f.Vec(v[1].Words(v[3], low)) // rows 0 and 2, rows 1 and 3
	c, d := f.Vec(v[0].Words(v[2], high)), f.Vec(v[1].Words(v[3], high))
	return []wasm.V128{f.Vec(a.Words(b, low)), f.Vec(a.Words(b, high)), f.Vec(c.Words(d, low)), f.Vec(c.Words(d, high))}
}

// sumsOfLanes is a vector of the sums of the four integers in each of four vectors.
func sumsOfLanes(f *wasm.Function, v []wasm.V128) wasm.V128 {
	low, high := [4]byte{0, 4, 1, 5}, [4]byte{2, 6, 3, 7}
	a := f.Vec(v[0].Words(v[1], low).I32x4Add(v[0].Words(v[1], high)))
	b := f.Vec(v[2].Words(v[3], low).I32x4Add(v[2].Words(v[3], high)))
	return f.Vec(a.Words(b, [4]byte{0, 1, 4, 5}).I32x4Add(a.Words(b, [4]byte{2, 3, 6, 7})))
}
