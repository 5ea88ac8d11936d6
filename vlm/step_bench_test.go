package vlm

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/batch"
)

func BenchmarkShapes(b *testing.B) {
	text := TextConfig{}
	must(b, json.Unmarshal([]byte(`{"model_type":"llama","hidden_size":96,"intermediate_size":256,"num_hidden_layers":4,"num_attention_heads":3,"num_key_value_heads":3,"head_dim":32,"vocab_size":384,"max_position_embeddings":1024,"rope_theta":10000,"rms_norm_eps":1e-5,"tie_word_embeddings":true}`), &text))
	c := Config{ModelType: modelType, FormatVersion: 1, ImageTokenID: 383, Attention: batch.Document, Text: text, Vision: VisionConfig{64, 8, 3, 96, 8, 1e-5, 1}}
	m, err := NewModel(c, Init{FanIn: true, Embedding: .3, Positions: .02})
	must(b, err)
	dev := cpu.Open(0)
	must(b, m.allocate(dev, true))
	must(b, m.Params.Initialise(dev, 1))
	const rows, T = 6, 208
	s, err := NewStepper(m, dev, shapeFor(c, rows, T), nn.AdamW{Beta1: .9, Beta2: .98, Eps: 1e-8, WeightDecay: .05, MaxNorm: 1})
	must(b, err)
	r := rand.New(rand.NewPCG(1, 1))
	t := &batch.Batch{Segments: make([]int32, rows*T)}
	slot := int32(0)
	for i := range rows * T {
		id, sl := int32(r.IntN(383)), int32(-1)
		if i%T < 64 {
			id, sl = 383, slot
			slot++
		}
		target := int32(shaders.Ignore)
		if i%T >= 63 && i%T < T-1 {
			target = int32(r.IntN(383))
		}
		t.IDs, t.ImageSlots, t.Positions = append(t.IDs, id), append(t.ImageSlots, sl), append(t.Positions, int32(i%T))
		t.Intervals = append(t.Intervals, 0, 0, 0, int32(i%T+1))
		t.Targets = append(t.Targets, target)
	}
	pixels := make([]byte, rows*64*64*3)
	for i := range pixels {
		pixels[i] = byte(r.IntN(256))
	}
	i := 0
	for b.Loop() {
		i++
		_, n, err := s.Backward(context.Background(), t, pixels, 1.0/800, true)
		must(b, err)
		_, err = s.Update(context.Background(), i, func(string) float64 { return 1e-3 })
		must(b, err)
		_ = n
	}
	b.ReportMetric(float64(rows*T*b.N)/b.Elapsed().Seconds(), "tokens/s")
}
