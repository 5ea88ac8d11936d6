package cpu

import "patchwork/shaders"

// goMatmul is the matmul in plain Go, where there is nothing better.
var goMatmul = matmul{name: goName, gemm: goGemm, rows: 16, cols: 16, minWork: blockedWork}

// goGemm is the matmul in plain Go: a row of c at a time, four rows of b at a time, or four terms.
func goGemm(g shaders.Gemm) {
	a := make([]float32, g.K)
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
		for k := range a {
			at := i*g.LDA + k
			if g.TransA {
				at = k*g.LDA + i
			}
			a[k] = g.Alpha * g.A[at]
		}
		if g.TransB {
			goRowTransB(g, a, row)
		} else {
			goRow(g, a, row)
		}
	}
}

func goRow(g shaders.Gemm, a, row []float32) {
	k := 0
	for ; k+4 <= len(a); k += 4 {
		a0, a1, a2, a3 := a[k], a[k+1], a[k+2], a[k+3]
		b0, b1 := g.B[k*g.LDB:][:len(row)], g.B[(k+1)*g.LDB:][:len(row)]
		b2, b3 := g.B[(k+2)*g.LDB:][:len(row)], g.B[(k+3)*g.LDB:][:len(row)]
		for j := range row {
			row[j] += a0*b0[j] + a1*b1[j] + a2*b2[j] + a3*b3[j]
		}
	}
	for ; k < len(a); k++ {
		ak, b := a[k], g.B[k*g.LDB:][:len(row)]
		for j := range row {
			row[j] += ak * b[j]
		}
	}
}

func goRowTransB(g shaders.Gemm, a, row []float32) {
	for j := range row {
		b := g.B[j*g.LDB:][:len(a)]
		var s0, s1, s2, s3 float32
		k := 0
		for ; k+4 <= len(b); k += 4 {
			s0 += a[k] * b[k]
			s1 += a[k+1] * b[k+1]
			s2 += a[k+2] * b[k+2]
			s3 += a[k+3] * b[k+3]
		}
		for ; k < len(b); k++ {
			s0 += a[k] * b[k]
		}
		row[j] += (s0 + s1) + (s2 + s3)
	}
}
