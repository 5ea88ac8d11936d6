package cpu

import "patchwork/shaders"

// goMatmul is the matmul in plain Go, where there is nothing better.
var goMatmul = matmul{name: "Go (install libopenblas0 for speed)", gemm: goGemm, rows: 16, cols: 16, minWork: blockedWork}

// goGemm is the matmul in plain Go: a row of c at a time, four rows of b at a time.
func goGemm(g shaders.Gemm) {
	for i := range g.M {
		row := g.C[i*g.LDC:][:g.N]
		switch g.Beta {
		case 1:
		case 0:
			clear(row)
		default:
			for j := range row {
				row[j] *= g.Beta
			}
		}
		if g.TransB {
			goRowTransB(g, i, row)
		} else {
			goRow(g, i, row)
		}
	}
}

func (g gemmRow) at(k int) float32 {
	if g.TransA {
		return g.Alpha * g.A[k*g.LDA+g.i]
	}
	return g.Alpha * g.A[g.i*g.LDA+k]
}

type gemmRow struct {
	shaders.Gemm
	i int
}

func goRow(g shaders.Gemm, i int, row []float32) {
	a := gemmRow{g, i}
	k := 0
	for ; k+4 <= g.K; k += 4 {
		a0, a1, a2, a3 := a.at(k), a.at(k+1), a.at(k+2), a.at(k+3)
		b0, b1 := g.B[k*g.LDB:][:len(row)], g.B[(k+1)*g.LDB:][:len(row)]
		b2, b3 := g.B[(k+2)*g.LDB:][:len(row)], g.B[(k+3)*g.LDB:][:len(row)]
		for j := range row {
			row[j] += a0*b0[j] + a1*b1[j] + a2*b2[j] + a3*b3[j]
		}
	}
	for ; k < g.K; k++ {
		ak, b := a.at(k), g.B[k*g.LDB:][:len(row)]
		for j := range row {
			row[j] += ak * b[j]
		}
	}
}

func goRowTransB(g shaders.Gemm, i int, row []float32) {
	a := gemmRow{g, i}
	for j := range row {
		b := g.B[j*g.LDB:][:g.K]
		var s0, s1, s2, s3 float32
		k := 0
		for ; k+4 <= len(b); k += 4 {
			s0 += a.at(k) * b[k]
			s1 += a.at(k+1) * b[k+1]
			s2 += a.at(k+2) * b[k+2]
			s3 += a.at(k+3) * b[k+3]
		}
		for ; k < len(b); k++ {
			s0 += a.at(k) * b[k]
		}
		row[j] += (s0 + s1) + (s2 + s3)
	}
}
