//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// BenchmarkMatMul measures matmuls on the first Vulkan device, a software one where there
// is no GPU.
func BenchmarkMatMul(b *testing.B) {
	dev, err := Open(0)
	if err != nil {
		b.Skip(err)
	}
	defer dev.Close()
	for _, s := range [][3]int{{1024, 1024, 1024}, {256, 49153, 576}, {8, 1536, 576}, {1, 1536, 576}, {1, 576, 576}, {1, 49152, 576}} {
		for trans := range uint32(4) {
			m, n, k := s[0], s[1], s[2]
			p := shaders.MatMulParams{
				M: shaders.N(m), N: uint32(n), K: shaders.N(k), TransA: trans & 1, TransB: trans >> 1,
				LDA: uint32(k), LDB: uint32(n), LDC: uint32(n), Batch: 1, Alpha: 1,
			}
			if p.TransA != 0 {
				p.LDA = uint32(m)
			}
			if p.TransB != 0 {
				p.LDB = uint32(k)
			}
			name := fmt.Sprintf("%dx%dx%d/%c%c", m, n, k, "NT"[p.TransA], "NT"[p.TransB])
			b.Run(name, func(b *testing.B) {
				benchmark(b, dev, shaders.MatMul, p, 4*m*k, 4*k*n, 0, 0, 4*m*n)
			})
		}
	}
}

// BenchmarkAttention measures attention of 9 heads over 3 of 64, as the
// 135M model has them, and its gradient.
func BenchmarkAttention(b *testing.B) {
	dev, err := Open(0)
	if err != nil {
		b.Skip(err)
	}
	defer dev.Close()
	for _, d := range []int{32, 64, 128} {
		const tokens, heads, kv = 512, 9, 3
		p := shaders.AttentionParams{Batch: 1, Queries: tokens, Keys: tokens, Heads: heads, KVHeads: kv, HeadDim: uint32(d), Scale: 0.125}
		q, k := 4*tokens*heads*d, 4*tokens*kv*d
		b.Run(fmt.Sprintf("forward/d%d", d), func(b *testing.B) {
			benchmark(b, dev, shaders.Attention, p, q, k, k, 16*tokens, q, q/d)
		})
		b.Run(fmt.Sprintf("backward/d%d", d), func(b *testing.B) {
			benchmark(b, dev, shaders.AttentionBackward, p, q, k, k, 16*tokens, q, q/d, q, q, k, k)
		})
	}
}

// benchmark runs one dispatch over bindings of the given sizes, 0 for absent ones.
func benchmark(b *testing.B, dev engine.Device, k *shaders.Kernel, params any, sizes ...int) {
	program := engine.NewProgram(k.Name)
	var buffers []*engine.Buffer
	var views []engine.View
	for i, n := range sizes {
		if n == 0 {
			views = append(views, engine.View{})
			continue
		}
		buffer := engine.NewBuffer(k.Bindings[i].Name, int64(n))
		buffers, views = append(buffers, buffer), append(views, buffer.View())
	}
	memories, err := engine.Allocate(dev, "a benchmark", buffers...)
	if err != nil {
		b.Fatal(err)
	}
	for i, v := range views {
		if k.Bindings[i].Name == "intervals" { // no masking
			intervals := make([]int32, sizes[i]/4)
			for j := 3; j < len(intervals); j += 4 {
				intervals[j] = int32(len(intervals) / 4)
			}
			if err := engine.Upload(dev, v, intervals); err != nil {
				b.Fatal(err)
			}
		}
	}
	program.Dispatch(k, params, views...)
	plan, err := engine.NewPlan(program, 0)
	if err != nil {
		b.Fatal(err)
	}
	exe, err := dev.Compile(plan, nil)
	if err != nil {
		b.Fatal(err)
	}
	var step [shaders.StepWords]uint32
	if err := exe.Run(b.Context(), &step); err != nil { // drivers compile late
		b.Fatal(err)
	}
	for b.Loop() {
		if err := exe.Run(b.Context(), &step); err != nil {
			b.Fatal(err)
		}
	}
	cost, seconds := k.Cost(params), b.Elapsed().Seconds()/float64(b.N)
	b.ReportMetric(cost.Flops/seconds/1e9, "GFLOP/s")
	b.ReportMetric(cost.Bytes/seconds/1e9, "GB/s")
	exe.Free()
	engine.Free(memories)
}
