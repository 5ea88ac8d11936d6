package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
)

// peer has the measurements of another program.
type peer struct {
	name    string
	squares map[int]float64 // GFLOP/s by side
	cases   []peerCase
}

// peerCase has the fields of benchpeer's lines that the page uses.
type peerCase struct {
	Device  string  `json:"device"`
	Work    string  `json:"work"`
	Kernel  string  `json:"kernel"`
	Case    string  `json:"case"`
	Variant string  `json:"variant"`
	GFLOPs  float64 `json:"gflops"`
	PeerGF  float64 `json:"peer_gflops"`
	Ratio   float64 `json:"ratio"`
	Skipped string  `json:"skipped"`
}

// readPeers reads the NAME=FILE arguments; empty ones are skipped.
func readPeers(given []string) (peers []peer, err error) {
	for _, g := range given {
		if g == "" {
			continue
		}
		name, file, ok := strings.Cut(g, "=")
		if !ok {
			return nil, fmt.Errorf("--peer %q, want NAME=FILE", g)
		}
		p := peer{name: name, squares: map[int]float64{}}
		if err := eachLine(file, p.add); err != nil {
			return nil, err
		}
		if len(p.squares)+len(p.cases) == 0 {
			return nil, fmt.Errorf("%s has no measurements of a peer", file)
		}
		peers = append(peers, p)
	}
	return peers, nil
}

func (p *peer) add(data []byte) error {
	var l struct {
		Bench  string
		M      int
		MS     float64 `json:"ms"`
		MSMin  float64 `json:"ms_min"`
		TFLOPs float64 `json:"tflops"`
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	switch l.Bench {
	case "matmul":
		p.squares[l.M] = max(p.squares[l.M], 1e3*l.TFLOPs*l.MS/l.MSMin)
	case "peer":
		var c peerCase
		if err := json.Unmarshal(data, &c); err != nil {
			return err
		}
		p.cases = append(p.cases, c)
	}
	return nil
}

// write writes a table of the interleaved measurements, and the geometric mean of the
// ratios by work.
func (p peer) write(w io.Writer) {
	if len(p.cases) == 0 {
		return
	}
	fmt.Fprintf(w, "## Interleaved with %s on %s\n\nGFLOP/s of the fastest run. Above 1, ours is faster.\n\n", p.name, p.cases[0].Device)
	fmt.Fprintf(w, "| work | kernel | case | variant | ours | %s | ratio |\n|---|---|---|---|---|---|---|\n", p.name)
	var works []string
	ratios, skipped := map[string][]float64{}, 0
	for _, t := range p.cases {
		if t.Skipped != "" {
			skipped++
			continue
		}
		work := t.Kernel + ", " + t.Work
		if ratios[work] == nil {
			works = append(works, work)
		}
		ratios[work] = append(ratios[work], t.Ratio)
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %.2f |\n", t.Work, t.Kernel, strings.ReplaceAll(t.Case, "/", " "), t.Variant, figure(t.GFLOPs), figure(t.PeerGF), t.Ratio)
	}
	fmt.Fprint(w, "\n| geometric mean of the ratios | cases | |\n|---|---|---|\n")
	for _, work := range works {
		fmt.Fprintf(w, "| %s | %d | %.2f |\n", work, len(ratios[work]), geometricMean(ratios[work]))
	}
	if skipped > 0 {
		fmt.Fprintf(w, "\n%d cases were skipped: one of the two does not support them, or they took too long.\n", skipped)
	}
	fmt.Fprintln(w)
}

func geometricMean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(x)))
}
