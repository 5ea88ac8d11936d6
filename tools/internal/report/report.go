// Package report has the measurements of a device by a run of make gpu-report's bundle: it
// gathers the files of the run's parts, writes JSON and Markdown, and is read by vlmtool
// train --dry-run.
package report

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"patchwork/engine"
)

// Report has a run's results. Results of a part that did not finish are missing; Parts has
// the reason.
type Report struct {
	Format      int           `json:"format"`
	Version     string        `json:"version"` // of patchwork
	Date        string        `json:"date"`
	Machine     string        `json:"machine"`
	Device      engine.Info   `json:"device"`  // the one that was measured
	Devices     []engine.Info `json:"devices"` // of the machine
	Peer        Peer          `json:"peer"`
	Parts       []Part        `json:"parts"`
	Goals       []Goal        `json:"goals"`
	Conformance []Outcome     `json:"conformance"`
	PeerCases   []PeerCase    `json:"products"`
	Train       []Train       `json:"train"`
	PeerTrain   []PeerRun     `json:"peer_train"`
	Infer       []Infer       `json:"infer"`
	PeerDecode  []PeerRun     `json:"peer_decode"`
	Embedder    []Embedder    `json:"embedder"`
	PeerPixels  []PeerRun     `json:"peer_embedder"` // the embedder and SigLIP's encoder
	Kernels     []Kernel      `json:"kernels"`
	Variants    []Kernel      `json:"variants"` // all that the device can run
	Learn       []Learn       `json:"learn"`
}

// format is the format that Read accepts.
const format = 1

// Peer is the framework that was measured for comparison.
type Peer struct {
	Name string `json:"peer"` // "PyTorch 2.11.0"
	On   string `json:"on"`   // "NVIDIA H200"
	Why  string `json:"why,omitempty"`
}

// Part is a part of the run.
type Part struct {
	Name    string `json:"part"`
	Limit   int    `json:"limit_s"`
	Seconds int    `json:"seconds"`
	Code    int    `json:"rc"`            // exit status
	Why     string `json:"why,omitempty"` // the last line of a failed part's errors
}

// Exit statuses with a meaning in run.sh.
const (
	stopped    = 124
	notStarted = 125
	killed     = 137
)

// Outcome counts the outcomes of a kernel's conformance cases.
type Outcome struct {
	Kernel  string   `json:"kernel"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	Which   []string `json:"failures,omitempty"`
}

// PeerCase is a matmul or an attention compared with the peer's: benchpeer's line.
type PeerCase struct {
	Work    string  `json:"work"`
	Kernel  string  `json:"kernel"`
	Case    string  `json:"case"`
	DType   string  `json:"dtype"`
	Variant string  `json:"variant"`
	US      float64 `json:"us_min"`
	GFLOPs  float64 `json:"gflops"`
	PeerGF  float64 `json:"peer_gflops"`
	Ratio   float64 `json:"ratio"`
	Skipped string  `json:"skipped,omitempty"`
}

// Train is bench train's line.
type Train struct {
	Preset     string  `json:"preset"`
	DType      string  `json:"dtype"`
	Recompute  bool    `json:"recompute"`
	BatchSize  int     `json:"batch_size"`
	SeqLen     int     `json:"seq_len"`
	FirstMS    float64 `json:"first_ms"`
	MS         float64 `json:"ms"`
	TokensPerS float64 `json:"tokens_per_s"`
	GFLOPs     float64 `json:"gflops"`
	Memory     int64   `json:"memory_peak_bytes"`
	Dispatches int     `json:"dispatches"`
	Barriers   int     `json:"barriers"`
	Submits    int     `json:"submits"`
	KernelMS   float64 `json:"kernel_ms"`
	Idle       float64 `json:"idle_fraction"`
	Kernels    []struct {
		Kernel string  `json:"kernel"`
		Calls  int     `json:"calls"`
		MS     float64 `json:"ms"`
		GFLOPs float64 `json:"gflops"`
	} `json:"kernels"`
}

// PeerRun is a line of the peer's output.
type PeerRun struct {
	Bench      string  `json:"bench"`
	Preset     string  `json:"preset"`
	Mode       string  `json:"mode"` // "bf16", "bf16-compiled"
	BatchSize  int     `json:"batch_size,omitempty"`
	SeqLen     int     `json:"seq_len,omitempty"`
	MS         float64 `json:"ms,omitempty"`
	TokensPerS float64 `json:"tokens_per_s,omitempty"`
	PrefillMS  float64 `json:"prefill_ms,omitempty"`
	ImagesPerS float64 `json:"images_per_s,omitempty"`
	Memory     int64   `json:"memory_peak_bytes,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// Infer is bench infer's line.
type Infer struct {
	Preset       string  `json:"preset"`
	DType        string  `json:"dtype"`
	PromptTokens int     `json:"prompt_tokens"`
	NewTokens    int     `json:"new_tokens"`
	FirstMS      float64 `json:"first_ms"`
	PrefillMS    float64 `json:"prefill_ms"`
	TokensPerS   float64 `json:"tokens_per_s"`
	GBs          float64 `json:"gb_per_s"`
	CopyFraction float64 `json:"copy_fraction"`
}

// Embedder is bench embedder's line.
type Embedder struct {
	Preset     string  `json:"preset"`
	DType      string  `json:"dtype"`
	BatchSize  int     `json:"batch_size"`
	MS         float64 `json:"ms"`
	ImagesPerS float64 `json:"images_per_s"`
}

// Kernel is bench kernels' line.
type Kernel struct {
	Preset   string  `json:"preset"`
	DType    string  `json:"dtype"`
	Kernel   string  `json:"kernel"`
	Case     string  `json:"case"`
	Work     string  `json:"work"`
	Variant  string  `json:"variant"`
	Checked  string  `json:"checked"`
	Calls    int     `json:"calls_per_step"`
	US       float64 `json:"us"`
	USMin    float64 `json:"us_min"`
	GFLOPs   float64 `json:"gflops"`
	GBs      float64 `json:"gb_per_s"`
	Roofline float64 `json:"roofline"`
	Bound    string  `json:"bound"`
	Skipped  string  `json:"skipped,omitempty"`
	Wrong    string  `json:"wrong,omitempty"`
}

// Learn is the result of a short training run in a type.
type Learn struct {
	DType      string  `json:"dtype"`
	Steps      int     `json:"steps"`
	Loss       float64 `json:"loss"`
	TokensPerS float64 `json:"tokens_per_s"`
}

// Read returns the report in a file of a file system.
func Read(files fs.FS, path string) (*Report, error) {
	data, err := fs.ReadFile(files, path)
	if err != nil {
		return nil, err
	}
	return Parse(data, path)
}

// Parse parses the content of a report.json; path is for errors.
func Parse(data []byte, path string) (*Report, error) {
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Format != format {
		return nil, fmt.Errorf("%s: format %d, want %d; want a report.json of make gpu-report", path, r.Format, format)
	}
	return r, nil
}
