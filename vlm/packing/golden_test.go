package packing

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/golden"
	"patchwork/nn/safetensors"
)

func TestGoldenPacking(t *testing.T) {
	var file struct {
		Cases []struct {
			Name      string
			Lengths   []int
			PoolSize  int `json:"pool_size"`
			RowLen    int `json:"knapsack_length"`
			MaxBatch  int `json:"max_batch_size"`
			Batches   [][][]int
			Skipped   []int
			RowTokens [][]int `json:"row_tokens"`
			Tokens    int
			Padding   int
		}
	}
	golden.JSON(t, filepath.Join(golden.Dir(t, "packing"), "cases.json"), &file)
	if len(file.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			got, skipped := packLengths(Schedule{PoolSize: c.PoolSize, RowLen: c.RowLen, MaxBatch: c.MaxBatch}, c.Lengths)
			if !equal3(got, c.Batches) {
				t.Errorf("batches\n got %v\nwant %v", got, c.Batches)
			}
			if !slices.Equal(skipped, c.Skipped) {
				t.Errorf("skipped %v, want %v", skipped, c.Skipped)
			}
			tokens, rows := 0, 0
			for _, b := range got {
				for _, row := range b {
					rows++
					for _, sample := range row {
						tokens += c.Lengths[sample]
					}
				}
			}
			if tokens != c.Tokens || rows*c.RowLen-tokens != c.Padding {
				t.Errorf("%d tokens and %d of padding, want %d and %d", tokens, rows*c.RowLen-tokens, c.Tokens, c.Padding)
			}
		})
	}
}

// packLengths packs samples of the given lengths, pool after pool, without shuffling: batches of
// rows of sample indices. Longer ones than a row are skipped, as a Sampler does.
func packLengths(s Schedule, lengths []int) (batches [][][]int, skipped []int) {
	var fit []int // samples that fit a row
	for i, n := range lengths {
		if n > s.RowLen {
			skipped = append(skipped, i)
		} else {
			fit = append(fit, i)
		}
	}
	number := 0
	for pool := range slices.Chunk(fit, s.PoolSize) {
		var of []int
		for _, i := range pool {
			of = append(of, lengths[i])
		}
		for _, batch := range s.Pack(0, number, of) {
			for _, row := range batch {
				for k := range row {
					row[k] = pool[row[k]]
				}
			}
			batches = append(batches, batch)
		}
		number++
	}
	return batches, skipped
}

func equal3(a, b [][][]int) bool {
	return slices.EqualFunc(a, b, func(a, b [][]int) bool { return slices.EqualFunc(a, b, slices.Equal[[]int]) })
}

// The rows of the tiny models, laid out in each attention mode.
func TestGoldenLayout(t *testing.T) {
	for _, name := range tinyModels(t) {
		dir := golden.Dir(t, name)
		in := readInts(t, filepath.Join(dir, "inputs.safetensors"))
		var config struct {
			MaskModes []string `json:"mask_modes"`
		}
		golden.JSON(t, filepath.Join(dir, "config.json"), &config)
		for _, mode := range config.MaskModes {
			t.Run(name+"/"+mode, func(t *testing.T) { checkLayout(t, in, mode) })
		}
	}
}

func tinyModels(t *testing.T) []string {
	t.Helper()
	names := slices.DeleteFunc(golden.Members(t, ""), func(name string) bool { return !strings.HasPrefix(name, "tiny_") })
	if len(names) == 0 {
		t.Skip("no golden tiny_* models; PATCHWORK_GOLDEN can name a directory that has them")
	}
	return names
}

func checkLayout(t *testing.T, in map[string]ints, mode string) {
	ids, rows, n := in["input_ids"], in["input_ids"].shape[0], in["input_ids"].shape[1]
	for b := range rows {
		part := func(name string) []int32 { return in[name].data[b*n : (b+1)*n] }
		samples := part("segment_ids")
		r := row{
			ids: ids.data[b*n : (b+1)*n], images: part("image_ids"), frames: slices.Repeat([]int32{-1}, n),
			positions: make([]int32, n), intervals: make([]int32, 4*n), targets: make([]int32, n),
		}
		r.layout(segmentsOf(samples), Modes{Attention: Attention(CurrentName(mode)), Loss: OnAll})
		sameInts(t, "positions", r.positions, part("positions."+mode))
		sameInts(t, "targets", r.targets, part("targets."+mode))
		allowed := in["allowed."+mode].data[b*n*n : (b+1)*n*n]
		for q := range n {
			for k := range n {
				real := samples[q] >= 0 && samples[k] >= 0
				if got := r.attends(q, k); real && got != (allowed[q*n+k] != 0) {
					t.Fatalf("row %d: query %d attends to key %d: %v", b, q, k, got)
				}
				if samples[q] < 0 && r.attends(q, k) {
					t.Fatalf("row %d: padding %d attends to key %d", b, q, k)
				}
			}
		}
	}
}

// attends reports whether query q attends to key k.
func (r row) attends(q, k int) bool {
	iv := r.intervals[4*q : 4*q+4]
	return int(iv[0]) <= k && k < int(iv[1]) || int(iv[2]) <= k && k < int(iv[3])
}

func segmentsOf(samples []int32) []segment {
	var out []segment
	for t, s := range samples {
		switch {
		case s < 0:
		case t > 0 && samples[t-1] == s:
			out[len(out)-1].hi = t + 1
		default:
			out = append(out, segment{lo: t, hi: t + 1})
		}
	}
	return out
}

func sameInts(t *testing.T, what string, got, want []int32) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %v\nwant %v", what, got, want)
	}
}

type ints struct {
	shape []int
	data  []int32
}

// readInts reads the I32 tensors of a safetensors file.
func readInts(t *testing.T, path string) map[string]ints {
	t.Helper()
	file, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out := map[string]ints{}
	for _, name := range file.Names() {
		tensor, _ := file.Tensor(name)
		if tensor.DType != "I32" {
			continue
		}
		data, err := file.Int32(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = ints{tensor.Shape, data}
	}
	return out
}
