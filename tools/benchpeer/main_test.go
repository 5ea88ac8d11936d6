package main

import (
	"strings"
	"testing"

	"patchwork/engine/kernelbench"
	"patchwork/shaders"
)

// TestSizes checks the cases in a peer's format.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		kernel *shaders.Kernel
		params any
		want   string
		fails  bool
	}{
		{shaders.MatMul, shaders.MatMulParams{M: shaders.N(3), N: 5, K: shaders.N(7), Batch: 1}, "matmul 3 5 7", false},
		{shaders.MatMul, shaders.MatMulParams{M: shaders.N(3), N: 5, K: shaders.N(7), Batch: 2}, "", true},
		{shaders.Attention, shaders.AttentionParams{Batch: 1, Queries: 9, Keys: 9, Heads: 6, KVHeads: 2, HeadDim: 8}, "attention 6 2 8 9", false},
		{shaders.AttentionBackward, shaders.AttentionParams{Batch: 1, Queries: 9, Keys: 9, Heads: 6, KVHeads: 2, HeadDim: 8}, "attention_backward 6 2 8 9", false},
		{shaders.Attention, shaders.AttentionParams{Batch: 1, Queries: 1, Keys: 9, Heads: 6, KVHeads: 2, HeadDim: 8}, "", true},
		{shaders.Accumulate, shaders.AccumulateParams{}, "", true},
	} {
		args, err := sizes(&kernelbench.Case{Kernel: c.kernel, Params: c.params})
		if got := strings.Join(args, " "); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s %+v: %q, %v; want %q", c.kernel.Name, c.params, got, err, c.want)
		}
	}
}

// TestAsk checks a peer's answers and errors.
func TestAsk(t *testing.T) {
	matmul := &kernelbench.Case{Kernel: shaders.MatMul, Params: shaders.MatMulParams{M: shaders.N(3), N: 5, K: shaders.N(7), Batch: 1}}
	for _, c := range []struct {
		script string
		want   float64
		err    string
	}{
		{`test "$*" = "matmul 3 5 7" && echo '{"ms": 2.5}'`, 2.5, ""},
		{`echo first >&2; echo "too large" >&2; exit 1`, 0, "too large"},
		{`echo fast`, 0, "want {"},
		{`echo '{"ms": 0}'`, 0, "want {"},
	} {
		o := options{peer: "Peer", command: []string{"sh", "-c", c.script, "peer"}}
		p, err := o.start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.ask(t.Context(), p, peerCase{matmul, "f32"})
		if got != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %g, %v; want %g, %q", c.script, got, err, c.want, c.err)
		}
	}
}

// TestServe: a served peer answers several cases, until it ends.
func TestServe(t *testing.T) {
	matmul := &kernelbench.Case{Kernel: shaders.MatMul, Params: shaders.MatMulParams{M: shaders.N(3), N: 5, K: shaders.N(7), Batch: 1}}
	o := options{peer: "Peer", serve: true, command: []string{"sh", "-c",
		`read line; test "$line" = "matmul bf16 3 5 7" && echo '{"ms": 2.5}'; read line; echo '{"error": "no such type"}'`}}
	p, err := o.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if ms, err := o.ask(t.Context(), p, peerCase{matmul, "bf16"}); ms != 2.5 || err != nil {
		t.Errorf("%g, %v", ms, err)
	}
	for _, want := range []string{"no such type", "Peer: "} { // the second time it has ended
		if _, err := o.ask(t.Context(), p, peerCase{matmul, "f16"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestCases: the cases of the work and kernels, each once.
func TestCases(t *testing.T) {
	o := options{kernels: []string{"attention"}, presets: []string{"shapes", "shapes"}, work: []string{"train"}, dtypes: []string{"f32", "bf16"}, tokens: 32}
	cases, err := o.cases()
	if err != nil || len(cases) != 2 || cases[1].dtype != "bf16" || cases[0].Kernel != shaders.Attention || cases[0].Work != "shapes train" {
		t.Errorf("%d cases, %v", len(cases), err)
	}
	o = options{kernels: []string{"matmul", "attention", "attention_backward"}, presets: []string{"shapes"}, dtypes: []string{"f16"}, squares: []int{8, 16}, attention: []int{64}}
	if cases, err = o.cases(); err != nil || len(cases) != 4 {
		t.Errorf("%d cases of two matmuls and an attention, %v", len(cases), err)
	}
	o.kernels = []string{"no such kernel"}
	if _, err := o.cases(); err == nil {
		t.Error("an unknown kernel was accepted")
	}
}
