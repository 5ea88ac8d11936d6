package vlm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// Store sets the type in which activations and the weights of matmuls are stored. It must be
// called before Allocate.
func (m *Model) Store(t shaders.Type) {
	if t.Half() && m.Params.Half == nil {
		m.Params.AddHalfCopy(t)
	}
}

// StoreForQAT is Store where matmuls are to read rounded matrices, see FakeQuant: in F32 too they have
// a copy of the weights.
func (m *Model) StoreForQAT(t shaders.Type) {
	if m.Params.Half == nil {
		m.Params.AddHalfCopy(t)
	}
}

// StoreHalf is Store for inference: there are no master weights in 32 bits.
func (m *Model) StoreHalf(t shaders.Type) {
	if t.Half() {
		m.Params.StoreHalf(t)
	}
}

// Quantise stores matrices in the block formats that format returns for them. It is called before
// StoreHalf and Allocate, for a model whose matrices are not trained.
func (m *Model) Quantise(format func(p *nn.Param) (f quant.Format, ok bool)) {
	m.Params.Quantise(format)
}

// Storage returns the type set by Store.
func (m *Model) Storage() shaders.Type {
	if m.Params.Half == nil {
		return shaders.F32
	}
	return m.Params.Half.Type
}

// checkRange returns an error for activations in f16 that would leave its range.
func (m *Model) checkRange() error {
	if m.Storage() == shaders.F16 && m.Config.Text.NeedsRange() {
		return fmt.Errorf("a %s decoder cannot run in f16: its hidden states reach 100,000, more than f16's largest number, 65,504; use --dtype bf16 or f32", m.Config.Text.ModelType)
	}
	return nil
}

// WeightsName is the name of the type that most values of the decoder's matrices are stored in:
// "q4_k" of a file whose head has more bits.
func (m *Model) WeightsName() string {
	values := map[string]int64{}
	for _, p := range m.Params.All() {
		if p.Group != GroupDecoder || !p.MatmulWeight {
			continue
		}
		name := m.Storage().String()
		if f, ok := p.Format(); ok {
			name = f.String()
		}
		values[name] += p.Count()
	}
	return slices.MaxFunc(slices.Sorted(maps.Keys(values)), func(a, b string) int { return cmp.Compare(values[a], values[b]) })
}

// WeightBytes is the memory that the weights take on a device.
func (m *Model) WeightBytes() int64 {
	n := m.Params.Weights.Bytes
	for _, b := range []*engine.Buffer{m.Params.Half, m.Params.Blocks} {
		if b != nil {
			n += b.Bytes
		}
	}
	return n
}

// DecodeBytes returns the bytes of weights read to decode one token.
func (m *Model) DecodeBytes() int64 {
	var n int64
	for _, p := range m.decoder.read() {
		n += m.Params.StoredBytes(p)
	}
	return n
}
