package shaders

// MatMulParams are the parameters of MatMul. Leading dimensions and strides
// count elements. M and K may shrink from step to step.
type MatMulParams struct {
	M, K           Count
	N              uint32
	TransA, TransB uint32
	LDA, LDB, LDC  uint32
	Batch          uint32
	StrideA        uint32 // between the matrices of a batch
	StrideB        uint32
	StrideC        uint32
	Alpha          float32
	Beta           float32 // 0: c is only written
	Bias           uint32  // 1: bias [N] is added to every row
	Residual       uint32  // 1: residual, laid out as c, is added
}

// MatMul computes c = alpha·op(a)·op(b) + beta·c + bias + residual for every
// matrix of a batch: op(a) [M,K], op(b) [K,N], c [M,N], row-major. TransA says
// that a is stored as [K,M], TransB that b is stored as [N,K].
var MatMul = Declare(Decl[MatMulParams]{
	Name: "matmul",
	Bindings: []Binding{
		{Name: "a", Access: Read},
		{Name: "b", Access: Read},
		{Name: "bias", Access: Read, Optional: true},
		{Name: "residual", Access: Read, Optional: true},
		{Name: "c", Access: ReadWrite},
	},
	CPU: matmulCPU,
})

func matmulCPU(h Host, p MatMulParams, bufs Buffers) {
	a, b, bias, residual, c := bufs.F32(0), bufs.F32(1), bufs.F32(2), bufs.F32(3), bufs.F32(4)
	m, n, k := p.M.At(h.Step()), int(p.N), p.K.At(h.Step())
	if m == 0 {
		return
	}
	for i := range int(p.Batch) {
		c := c[i*int(p.StrideC):]
		beta := p.Beta
		if p.Bias != 0 || p.Residual != 0 {
			matmulStart(h, p, m, beta, bias, residual[min(i*int(p.StrideC), len(residual)):], c)
			beta = 1
		}
		h.Gemm(Gemm{
			TransA: p.TransA != 0, TransB: p.TransB != 0, M: m, N: n, K: k, Alpha: p.Alpha, Beta: beta,
			A: a[i*int(p.StrideA):], LDA: int(p.LDA), B: b[i*int(p.StrideB):], LDB: int(p.LDB), C: c, LDC: int(p.LDC),
		})
	}
}

// matmulStart puts beta·c + bias + residual into c, for the product to be added.
func matmulStart(h Host, p MatMulParams, m int, beta float32, bias, residual, c []float32) {
	n, ldc := int(p.N), int(p.LDC)
	h.Parallel(m, rowGrain(n), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := c[r*ldc:][:n]
			switch beta {
			case 0:
				clear(row)
			case 1:
			default:
				for j := range row {
					row[j] *= beta
				}
			}
			if p.Bias != 0 {
				addTo(row, bias)
			}
			if p.Residual != 0 {
				addTo(row, residual[r*ldc:])
			}
		}
	})
}
