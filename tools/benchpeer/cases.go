package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/engine/kernelbench"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/train"
)

// peerCase is a case in a float type.
type peerCase struct {
	*kernelbench.Case
	dtype string
}

// cases are square matmuls, attention over the given lengths, and the distinct calls of
// the kernels in the presets' work. Their Work names the first preset that has them.
func (o options) cases() (all []peerCase, err error) {
	seen := map[string]bool{}
	add := func(dtype string, cases []*kernelbench.Case) {
		for _, c := range cases {
			key := c.Kernel.Name + "/" + c.Name + "/" + dtype
			if slices.Contains(o.kernels, c.Kernel.Name) && c.Cost.Flops > 0 && !seen[key] {
				seen[key], all = true, append(all, peerCase{c, dtype})
			}
		}
	}
	for _, dtype := range o.dtypes {
		t, ok := shaders.ParseType(dtype)
		if !ok {
			return nil, fmt.Errorf("--dtypes has %q, want f32, bf16 or f16", dtype)
		}
		add(dtype, kernelbench.SquareMatmuls(t, o.squares, 1))
		for _, name := range o.presets {
			r, err := train.Preset(name)
			if err != nil {
				return nil, err
			}
			for _, tokens := range o.attention {
				add(dtype, attention(name, r.Text, tokens, t))
			}
			r.DType = dtype
			for _, work := range o.work {
				recorded, err := train.RecordWork(r, work, o.kind(), 1, o.tokens)
				if err != nil {
					return nil, err
				}
				add(dtype, kernelbench.FromDispatches(name+" "+work, recorded.Dispatches, &recorded.Step))
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no case of %v in the %v of %v", o.kernels, o.work, o.presets)
	}
	return all, nil
}

// kind is the part of the device's kind that changes the work.
func (o options) kind() string {
	kind, _, _ := strings.Cut(o.device, ":")
	return kind
}

func typed(label string, t shaders.Type, n int) engine.View {
	b := engine.NewBuffer(label, engine.BufferSize(t, n))
	if t.Half() {
		b.Type = t
	}
	return b.View()
}

// attention is a decoder's causal attention over a row of tokens, and its gradient.
func attention(preset string, text *vlm.TextConfig, tokens int, t shaders.Type) []*kernelbench.Case {
	heads, kv, dim := text.NumAttentionHeads, text.NumKeyValueHeads, text.HeadDim
	p := shaders.AttentionParams{
		Batch: 1, Queries: uint32(tokens), Keys: uint32(tokens), Heads: uint32(heads), KVHeads: uint32(kv), HeadDim: uint32(dim), Scale: float32(1 / math.Sqrt(float64(dim))),
	}
	q := func(name string) engine.View { return typed(name, t, tokens*heads*dim) }
	k := func(name string) engine.View { return typed(name, t, tokens*kv*dim) }
	program := engine.NewProgram("attention")
	intervals, lse := typed("intervals", shaders.I32, 4*tokens), typed("lse", shaders.F32, tokens*heads)
	program.Dispatch(shaders.Attention, p, q("q"), k("k"), k("v"), intervals, q("y"), lse)
	program.SetCostScale(float64(tokens+1) / float64(2*tokens))
	program.Dispatch(shaders.AttentionBackward, p, q("q"), k("k"), k("v"), intervals, q("y"), lse, q("dy"), q("dq"), k("dk"), k("dv"))
	program.SetCostScale(float64(tokens+1) / float64(2*tokens))
	return kernelbench.FromDispatches(preset+" attention", program.Dispatches, new([shaders.StepWords]uint32))
}

// sizes is a case in the peer's format.
func sizes(c *kernelbench.Case) ([]string, error) {
	var numbers []uint32
	switch p := c.Kernel.AtStep(c.Params, c.Step[:]).(type) {
	case shaders.MatMulParams:
		if p.Batch != 1 {
			return nil, errors.New("a batched matmul")
		}
		numbers = []uint32{p.M.Max, p.N, p.K.Max}
	case shaders.AttentionParams:
		if p.Batch != 1 || p.Queries != p.Keys {
			return nil, errors.New("attention over a cache or a batch")
		}
		numbers = []uint32{p.Heads, p.KVHeads, p.HeadDim, p.Keys}
	default:
		return nil, fmt.Errorf("kernel %s has no peer", c.Kernel.Name)
	}
	args := []string{c.Kernel.Name}
	for _, n := range numbers {
		args = append(args, fmt.Sprint(n))
	}
	return args, nil
}
