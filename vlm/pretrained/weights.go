package pretrained

import (
	"fmt"
	"slices"
	"strings"

	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/shaders/quant"
	"patchwork/vlm"
)

// LoadOptions are how a model is stored for inference.
type LoadOptions struct {
	// Type is that of activations, and of the matrices that are not quantised: F32, BF16 or F16.
	Type    shaders.Type
	Weights Weights
	Cache   vlm.CacheType // of keys and values
	Adapter string        // folder of an adapter for the model; "" = none
	// MMProj is llama.cpp's file of the embedders of a Gemma 4 whose decoder is a file of its own; "" = none.
	MMProj string
}

// Weights is how the decoder's matrices are stored on a device: WeightsAuto, a float type or a
// block format by its name.
type Weights string

// WeightsAuto keeps quantised matrices as they are in the file, and stores others in
// LoadOptions.Type.
const WeightsAuto Weights = "auto"

// WeightsNames are the values of Weights.
var WeightsNames = func() []string {
	names := []string{string(WeightsAuto), shaders.F32.String(), shaders.BF16.String(), shaders.F16.String()}
	for _, f := range quant.Formats {
		names = append(names, f.String())
	}
	return names
}()

// Check returns an error for a combination that cannot be stored.
func (o LoadOptions) Check() error {
	if o.Weights != "" && !slices.Contains(WeightsNames, string(o.Weights)) {
		return fmt.Errorf("--weights is %q, want one of %s", o.Weights, strings.Join(WeightsNames, ", "))
	}
	if t, ok := shaders.ParseType(string(o.Weights)); ok && t != o.Type && o.Type != shaders.F32 {
		return fmt.Errorf("--weights %s and --dtype %s differ; float weights and activations have one type", t, o.Type)
	}
	return nil
}

// floats is the type of activations and of matrices that are not quantised.
func (o LoadOptions) floats() shaders.Type {
	if t, ok := shaders.ParseType(string(o.Weights)); ok && o.Type == shaders.F32 {
		return t
	}
	return o.Type
}

// Store sets how the matrices of a model that is in no file are stored. It is called before the
// model is allocated.
func (o LoadOptions) Store(m *vlm.Model) { o.store(m, nil) }

// StoreBase sets how the frozen base of an adapter is stored; p is its files, nil if they are not
// known. It is called before the model's Store.
func (o LoadOptions) StoreBase(m *vlm.Model, p *Decoder) {
	stored := func(*nn.Param) (quant.Format, bool) { return 0, false }
	if p != nil {
		stored = p.format
	}
	m.Quantise(o.formats(m, stored))
}

// store is Store for a model in files: stored returns a parameter's block format there; nil: they
// have none.
func (o LoadOptions) store(m *vlm.Model, stored func(p *nn.Param) (quant.Format, bool)) {
	m.Quantise(o.formats(m, stored))
	m.StoreHalf(o.floats())
	m.StoreCache(o.Cache)
}

// ExportFormats returns the block format that export --quantize stores a parameter in; ok is false
// where it stores floats.
func ExportFormats(m *vlm.Model, quantize string) func(p *nn.Param) (f quant.Format, ok bool) {
	if q := quantizations[quantize]; q.mix != nil {
		return q.mix.Of(m)
	}
	return func(*nn.Param) (quant.Format, bool) { return 0, false }
}

// formats returns the block format that a parameter is to be stored in.
func (o LoadOptions) formats(m *vlm.Model, stored func(p *nn.Param) (quant.Format, bool)) func(p *nn.Param) (quant.Format, bool) {
	if o.Weights == WeightsAuto && stored != nil {
		return stored
	}
	return ExportFormats(m, string(o.Weights))
}

// Mix is the formats of a quantised decoder: of most matrices, of the more sensitive half of
// the values and down projections, and of the embedding and the head.
type Mix struct {
	Matrices, Sensitive, Vocabulary quant.Format
}

// Of returns a parameter's format; ok is false for those that are not quantised: vectors, the
// image embedder, the connector, and matrices whose rows are not whole blocks of any format.
func (x Mix) Of(m *vlm.Model) func(p *nn.Param) (f quant.Format, ok bool) {
	vocabulary := m.VocabularyParams()
	return func(p *nn.Param) (f quant.Format, ok bool) {
		if p.Group != vlm.GroupDecoder || !p.MatmulWeight {
			return 0, false
		}
		f = x.Matrices
		switch {
		case slices.Contains(vocabulary, p):
			f = x.Vocabulary
		case sensitive(p.Name, m.Config.Text.NumHiddenLayers):
			f = x.Sensitive
		}
		return fitting(f, p.Shape[1])
	}
}

// sensitive reports whether llama.cpp stores the matrix with more bits: the value and down
// projections of the first and the last eighth of the layers, and of every third between them.
func sensitive(name string, layers int) bool {
	part := layerName.FindStringSubmatch(strings.TrimPrefix(name, vlm.DecoderPrefix))
	if part == nil || part[2] != "self_attn.v_proj" && part[2] != "mlp.down_proj" {
		return false
	}
	var layer int
	fmt.Sscan(part[1], &layer) // digits, by layerName
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// fallbacks replace formats of 256 values in rows that have no whole blocks of them, as
// llama.cpp does.
var fallbacks = map[quant.Format]quant.Format{quant.Q4_K: quant.Q5_0, quant.Q5_K: quant.Q5_1, quant.Q6_K: quant.Q8_0}

// fitting is a format, or its fallback, of whose blocks rows of cols values consist.
func fitting(f quant.Format, cols int) (quant.Format, bool) {
	if n, _ := f.Block(); cols%n == 0 {
		return f, true
	}
	f, ok := fallbacks[f]
	n, _ := f.Block()
	return f, ok && cols%n == 0
}
