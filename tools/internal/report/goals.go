package report

import (
	"fmt"
	"slices"
	"strings"
)

// Goal is a target for an H100 or H200.
type Goal struct {
	What     string  `json:"what"`
	Want     string  `json:"want"`
	Bound    float64 `json:"bound"`
	Max      bool    `json:"most,omitempty"` // the bound is a maximum
	Measured float64 `json:"measured"`
	Missing  string  `json:"missing,omitempty"` // why it was not measured
}

// Met reports whether the goal is reached.
func (g Goal) Met() bool {
	if g.Missing != "" {
		return false
	}
	return g.Max && g.Measured < g.Bound || !g.Max && g.Measured >= g.Bound
}

// goalPresets must train as fast as the peer.
var goalPresets = []string{"smollm2-135m", "smollm2-360m", "qwen3-1.7b"}

func goals(r *Report) (all []Goal) {
	add := func(what, want string, bound float64, isMax bool, measured float64, missing string) {
		all = append(all, Goal{what, want, bound, isMax, measured, missing})
	}
	ratio := func(what string, bound float64, fits func(PeerCase) bool) {
		measured, missing := r.ratio(fits)
		add(what, fmt.Sprintf("≥ %g× the peer", bound), bound, false, measured, missing)
	}
	ratio("matmul of 4096³ in bf16, of cuBLAS", 0.5, func(p PeerCase) bool {
		return p.Kernel == "matmul" && p.DType == "bf16" && strings.HasPrefix(p.Case, "m=4096/k=4096/n=4096/")
	})
	for kernel, bound := range map[string]float64{"attention": 0.6, "attention_backward": 0.5} {
		ratio(kernel+", head size 128, 4096 tokens in bf16, of SDPA", bound, func(p PeerCase) bool {
			return p.Kernel == kernel && p.DType == "bf16" && strings.Contains(p.Case, "queries=4096/") && strings.Contains(p.Case, "headdim=128")
		})
	}
	slices.SortFunc(all[1:], func(a, b Goal) int { return strings.Compare(a.What, b.What) })
	for _, preset := range goalPresets {
		measured, missing := r.trainRatio(preset)
		add("training of "+preset+" in bf16, tokens/s, of PyTorch eager", "≥ 1× the peer", 1, false, measured, missing)
	}
	measured, missing := 0.0, notMeasured
	for i := range r.Embedder {
		if e := &r.Embedder[i]; e.Preset == "smollm2-135m" {
			ratio, why := r.embedderRatio(e)
			measured, missing = max(measured, ratio), why // of the faster type
		}
	}
	add("embedder of smollm2-135m, images/s, of SigLIP-B/16-512 in bf16", "≥ 100× the peer", 100, false, measured, missing)
	for preset, bound := range map[string]float64{"smollm2-135m": 800, "qwen3-1.7b": 350} {
		measured, missing := 0.0, notMeasured
		for _, i := range r.Infer {
			if i.Preset == preset {
				measured, missing = max(measured, i.TokensPerS), "" // of the faster type
			}
		}
		add("generation by "+preset+", tokens/s", fmt.Sprintf("≥ %g", bound), bound, false, measured, missing)
	}
	slices.SortFunc(all[len(all)-2:], func(a, b Goal) int { return strings.Compare(b.What, a.What) })
	measured, missing = 0, notMeasured
	for _, t := range r.Train {
		if t.Preset == "smollm2-135m" && t.DType == "bf16" && t.KernelMS > 0 {
			measured, missing = t.Idle, ""
		}
	}
	add("idle between the dispatches of a step, smollm2-135m in bf16", "< 0.05 of the step", 0.05, true, measured, missing)
	return all
}

const notMeasured = "not measured"

// ratio is the ratio to the peer of the first matching matmul or attention.
func (r *Report) ratio(fits func(PeerCase) bool) (float64, string) {
	for _, p := range r.PeerCases {
		switch {
		case !fits(p):
		case p.Skipped != "":
			return 0, p.Skipped
		case p.Ratio == 0:
			return 0, r.noPeer()
		default:
			return p.Ratio, ""
		}
	}
	return 0, notMeasured
}

// noPeer is the reason for missing measurements of the peer.
func (r *Report) noPeer() string {
	if r.Peer.Name == "" {
		return "no PyTorch on the machine"
	}
	return "the peer was not measured"
}

// peerTrain is the peer's training run in a mode, nil where there is none.
func (r *Report) peerTrain(preset, mode string) *PeerRun {
	return find(r.PeerTrain, func(p PeerRun) bool { return p.Preset == preset && p.Mode == mode })
}

func find[T any](all []T, fits func(T) bool) *T {
	if i := slices.IndexFunc(all, fits); i >= 0 {
		return &all[i]
	}
	return nil
}

func (r *Report) trainRatio(preset string) (float64, string) {
	ours := find(r.Train, func(t Train) bool { return t.Preset == preset && t.DType == "bf16" })
	theirs := r.peerTrain(preset, "bf16")
	switch {
	case ours == nil:
		return 0, notMeasured
	case theirs == nil:
		return 0, r.noPeer()
	case theirs.Error != "":
		return 0, "peer: " + theirs.Error
	}
	return ours.TokensPerS / theirs.TokensPerS, ""
}

func (r *Report) embedderRatio(ours *Embedder) (float64, string) {
	theirs := find(r.PeerPixels, func(p PeerRun) bool { return p.Bench == "siglip" && p.Mode == "bf16" })
	switch {
	case theirs == nil:
		return 0, r.noPeer()
	case theirs.Error != "":
		return 0, "peer: " + theirs.Error
	}
	return ours.ImagesPerS / theirs.ImagesPerS, ""
}
