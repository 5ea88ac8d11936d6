package main

import (
	"context"
	"math/rand/v2"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/vlm"
)

// squareSizes are the sides of the square products that bench kernels measures.
var squareSizes = []int{256, 512, 1024}

// squares is a program of square matrix products.
type squares struct {
	exe  engine.Executable
	plan *engine.Plan
}

func newSquares(dev engine.Device) (*squares, error) {
	program := engine.NewProgram("square products")
	for _, n := range squareSizes {
		bytes := int64(4 * n * n)
		a, b, c := engine.NewBuffer("a", bytes), engine.NewBuffer("b", bytes), engine.NewBuffer("c", bytes)
		if _, err := engine.Allocate(dev, "matrices", a, b, c); err != nil {
			return nil, err
		}
		for _, m := range []*engine.Buffer{a, b} {
			if err := engine.Upload(dev, m.View(), noise(n*n)); err != nil {
				return nil, err
			}
		}
		side := uint32(n)
		program.Dispatch(shaders.MatMul, shaders.MatMulParams{
			M: shaders.N(n), N: side, K: shaders.N(n), LDA: side, LDB: side, LDC: side, Batch: 1, Alpha: 1,
		}, a.View(), b.View(), engine.View{}, engine.View{}, c.View())
	}
	plan, err := engine.NewPlan(program)
	if err != nil {
		return nil, err
	}
	exe, err := dev.Compile(plan, nil)
	return &squares{exe, plan}, err
}

func noise(n int) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = random.Float32() - 0.5
	}
	return x
}

// Profile measures every product once.
func (s *squares) Profile(ctx context.Context) ([]vlm.Traced, error) {
	var step [shaders.StepWords]uint32
	timings, err := s.exe.Profile(ctx, &step)
	traced := make([]vlm.Traced, len(timings))
	for i, t := range timings {
		d := s.plan.Dispatches[t.Dispatch]
		traced[i] = vlm.Traced{Dispatch: d, Timing: t, Work: d.Cost(step[:])}
	}
	return traced, err
}
