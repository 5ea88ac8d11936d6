package pretrained

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/internal/durable"
	"patchwork/nn"
	"patchwork/nn/gguf"
	"patchwork/shaders/half"
	"patchwork/shaders/quant"
	"patchwork/vlm"
	"patchwork/vlm/tokenizer"
)

// quantization is a value of ExportOptions.Quantize: the types of a GGUF file's tensors.
type quantization struct {
	float    gguf.Type // of the embedder's matrices, and of the decoder's that are not quantised
	mix      *Mix
	fileType uint32 // general.file_type (llama.h, llama_ftype)
}

var quantizations = map[string]quantization{
	"f32": {gguf.F32, nil, 0}, "f16": {gguf.F16, nil, 1}, "bf16": {gguf.BF16, nil, 32},
	"q8_0": {gguf.F16, &Mix{quant.Q8_0, quant.Q8_0, quant.Q8_0}, 7},
	"q4_0": {gguf.F16, &Mix{quant.Q4_0, quant.Q4_0, quant.Q6_K}, 2}, "q4_1": {gguf.F16, &Mix{quant.Q4_1, quant.Q4_1, quant.Q6_K}, 3},
	"q5_0": {gguf.F16, &Mix{quant.Q5_0, quant.Q5_0, quant.Q6_K}, 8}, "q5_1": {gguf.F16, &Mix{quant.Q5_1, quant.Q5_1, quant.Q6_K}, 9},
	"q4_k": {gguf.F16, &Mix{quant.Q4_K, quant.Q4_K, quant.Q6_K}, 14}, "q5_k": {gguf.F16, &Mix{quant.Q5_K, quant.Q5_K, quant.Q6_K}, 16},
	"q4_k_m": {gguf.F16, &Mix{quant.Q4_K, quant.Q6_K, quant.Q6_K}, 15}, "q5_k_m": {gguf.F16, &Mix{quant.Q5_K, quant.Q6_K, quant.Q6_K}, 17},
	"q6_k": {gguf.F16, &Mix{quant.Q6_K, quant.Q6_K, quant.Q6_K}, 18},
}

// Quantizations are the values of ExportOptions.Quantize.
func Quantizations() []string { return slices.Sorted(maps.Keys(quantizations)) }

// typeOf is a parameter's type in the file.
func (q quantization) typeOf(m *vlm.Model) func(p *nn.Param) gguf.Type {
	format := func(*nn.Param) (quant.Format, bool) { return 0, false }
	if q.mix != nil {
		format = q.mix.Of(m)
	}
	return func(p *nn.Param) gguf.Type {
		if f, ok := format(p); ok {
			return gguf.TypeOf(f)
		}
		if p.MatmulWeight {
			return q.float
		}
		return gguf.F32 // vectors and position tables are small
	}
}

// exportGGUF writes a model, or a decoder, as one GGUF file. The file appears when it is complete.
func exportGGUF(ctx context.Context, o ExportOptions) (Description, error) {
	p, m, proc, err := openForExport(o)
	if err != nil {
		return Description{}, err
	}
	defer p.Close()
	q := quantizations[o.Quantize]
	metadata, err := ggufMetadata(m, proc, q.fileType, strings.TrimSuffix(filepath.Base(o.Out), ".gguf"))
	if err != nil {
		return Description{}, err
	}
	d := Description{Config: m.Config, Parameters: m.Params.Count()}
	tensors := ropeEntries(m.Config.Text)
	typeOf := q.typeOf(m)
	for _, param := range m.Params.All() {
		e, err := ggufEntry(ctx, p, m, param, typeOf(param))
		if err != nil {
			return Description{}, err
		}
		if e.Name == "" { // it is in the entry of another
			continue
		}
		d.addTensor(e)
		tensors = append(tensors, e)
	}
	out, err := durable.Create(o.Out)
	if err != nil {
		return d, err
	}
	if err := gguf.Write(out, metadata, tensors); err != nil {
		return d, errors.Join(err, out.Discard())
	}
	return d, out.Commit()
}

// openForExport opens what a GGUF file is to hold: a model with its embedder, or a decoder.
func openForExport(o ExportOptions) (*Decoder, *vlm.Model, *vlm.Processor, error) {
	p, err := openSource(o)
	if err != nil {
		return nil, nil, nil, err
	}
	m, proc, err := p.Structure()
	if err != nil {
		return nil, nil, nil, errors.Join(err, p.Close())
	}
	return p, m, proc, nil
}

// structure makes the model that the files describe, and its processor.
func (p *Decoder) structure() (*vlm.Model, *vlm.Processor, error) {
	c := p.wholeOrText()
	proc, err := p.Processor(c.Vision.Patches())
	if err = hear(c, proc, err); err != nil {
		return nil, nil, err
	}
	m, err := vlm.NewModel(c, vlm.Init{})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", p.Path, err)
	}
	return m, proc, nil
}

// exportRows is about how many values ggufEntry reads at once.
const exportRows = 1 << 22

// ggufEntry makes the file entry of a parameter, which is read when it is written. Blocks that are
// in the source in the same format are copied.
func ggufEntry(ctx context.Context, p *Decoder, m *vlm.Model, param *nn.Param, t gguf.Type) (gguf.Entry, error) {
	name, _ := p.fileName(param)
	if isGemmaPart(name) {
		return partEntry(ctx, p, param, name, t), nil
	}
	e := gguf.Entry{Name: GGUFName(m.Config.Text.ModelType, name), Type: t, Shape: p.shape(m, param)}
	if e.Name == "" {
		return e, fmt.Errorf("parameter %s has no name in a GGUF file", param.Name)
	}
	rows, cols := e.Shape[0], 1
	for _, d := range e.Shape[1:] {
		cols *= d
	}
	head := 1
	if permutedRows(m.Config.Text, name) {
		head = m.Config.Text.HeadDim
	}
	step := max(1, exportRows/cols/head) * head
	have, quantised := p.format(param)
	want, blocks := t.Quantised()
	e.Write = func(w io.Writer) error {
		for row := 0; row < rows; row += step {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(step, rows-row)
			var data []byte
			if quantised && blocks && have == want {
				raw := make([]byte, want.Bytes(n*cols))
				if err := p.weights.(blockSource).readBlocks(name, row, raw); err != nil {
					return err
				}
				data = permute(raw, want.Bytes(cols), head)
			} else {
				values := make([]float32, n*cols)
				if err := p.weights.read(name, row*cols, values); err != nil {
					return err
				}
				if i := slices.IndexFunc(values, nonFinite); i >= 0 {
					return damagedError(row*cols+i, values[i])
				}
				data = encode(t, permute(values, cols, head))
			}
			if _, err := w.Write(data); err != nil {
				return err
			}
		}
		return nil
	}
	return e, nil
}

func damagedError(i int, value float32) error {
	return fmt.Errorf("value %d is %v; the model is damaged, or its training diverged", i, value)
}

func nonFinite(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }

// permutedRows reports whether the parameter's rows are in another order in GGUF files.
func permutedRows(c vlm.TextConfig, name string) bool {
	return c.ModelType == "llama" && queryOrKey.MatchString(name)
}

// permute puts the rows of whole heads into llama.cpp's order: the inverse of unpermute. With a
// head of one row it changes nothing.
func permute[T any](rows []T, size, head int) []T {
	if head == 1 {
		return rows
	}
	out := make([]T, len(rows))
	for row := range len(rows) / size {
		half, pair := row%head/(head/2), row%head%(head/2)
		to := row - row%head + 2*pair + half
		copy(out[to*size:][:size], rows[row*size:])
	}
	return out
}

// encode is values as a type's bytes.
func encode(t gguf.Type, values []float32) []byte {
	if f, ok := t.Quantised(); ok {
		data := make([]byte, f.Bytes(len(values)))
		quant.EncodeParallel(f, data, values)
		return data
	}
	if t == gguf.F32 {
		data := make([]byte, 0, 4*len(values))
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		return data
	}
	to := half.ToF16
	if t == gguf.BF16 {
		to = half.ToBF16
	}
	data := make([]byte, 0, 2*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint16(data, to(v))
	}
	return data
}

// ropeEntries is the tensor of divisors of RoPE's frequencies, where the configuration has them.
func ropeEntries(c vlm.TextConfig) []gguf.Entry {
	factors := c.FrequencyFactors()
	if factors == nil {
		return nil
	}
	return []gguf.Entry{{Name: ropeFactors, Type: gguf.F32, Shape: []int{len(factors)}, Write: func(w io.Writer) error {
		_, err := w.Write(encode(gguf.F32, factors))
		return err
	}}}
}

// ggufMetadata are llama.cpp's keys, and those that only vlmtool reads.
func ggufMetadata(m *vlm.Model, proc *vlm.Processor, fileType uint32, name string) ([]gguf.Pair, error) {
	c := m.Config.Text
	pairs := []gguf.Pair{
		{Key: "general.architecture", Value: archOf(c.ModelType)}, {Key: "general.type", Value: "model"}, {Key: "general.name", Value: name},
		{Key: "general.file_type", Value: fileType}, {Key: "general.quantization_version", Value: uint32(2)},
	}
	add := func(key string, value any) {
		pairs = append(pairs, gguf.Pair{Key: archOf(c.ModelType) + "." + key, Value: value})
	}
	for _, one := range []struct {
		key string
		n   int
	}{
		{"block_count", c.NumHiddenLayers}, {"context_length", c.MaxPositionEmbeddings}, {"embedding_length", c.HiddenSize},
		{"feed_forward_length", c.IntermediateSize}, {"attention.head_count", c.NumAttentionHeads}, {"vocab_size", c.VocabSize},
	} {
		add(one.key, uint32(one.n))
	}
	head := uint32(c.AttentionKinds()[0].HeadDim)
	add("attention.key_length", head)
	add("attention.value_length", head)
	add("rope.dimension_count", head)
	if isGemma(c.ModelType) {
		if err := addGemma(add, c); err != nil {
			return nil, err
		}
	}
	if c.ModelType != "gemma4_unified_text" {
		add("attention.head_count_kv", uint32(c.NumKeyValueHeads))
	}
	add("attention.layer_norm_rms_epsilon", float32(c.RMSNormEps))
	add("rope.freq_base", float32(c.RopeTheta))
	if s := c.RopeScaling; s != nil && (s.Type == "linear" || s.Type == "yarn") {
		add("rope.scaling.type", s.Type)
		add("rope.scaling.factor", float32(s.Factor))
		if s.Type == "yarn" {
			if s.NoTruncate {
				return nil, errors.New("rope_scaling has truncate: false, which a GGUF file cannot express")
			}
			add("rope.scaling.original_context_length", uint32(s.OriginalContext))
			add("rope.scaling.yarn_beta_fast", float32(s.BetaFast))
			add("rope.scaling.yarn_beta_slow", float32(s.BetaSlow))
			add("rope.scaling.attn_factor", float32(s.AttentionFactor/(1+0.1*math.Log(s.Factor))))
		}
	}
	vocabulary, err := vocabularyPairs(proc, c.VocabSize)
	if err != nil {
		return nil, err
	}
	own, err := ownTexts(m, proc)
	return slices.Concat(pairs, vocabulary, own), err
}

// vocabularyPairs are the tokenizer and the chat template in llama.cpp's form. rows is the number
// of rows of the embedding, which the vocabulary is padded to.
func vocabularyPairs(proc *vlm.Processor, rows int) ([]gguf.Pair, error) {
	v, err := proc.Tokenizer.Vocabulary()
	if err != nil {
		return nil, err
	}
	for id := len(v.Tokens); id < rows; id++ {
		v.Tokens, v.Kinds = append(v.Tokens, fmt.Sprintf("[PAD%d]", id)), append(v.Kinds, tokenizer.KindUnused)
	}
	kinds := make([]int32, len(v.Kinds))
	for i, k := range v.Kinds {
		kinds[i] = int32(k)
	}
	var pairs []gguf.Pair
	add := func(key string, value any) {
		pairs = append(pairs, gguf.Pair{Key: "tokenizer." + key, Value: value})
	}
	if v.Pre == tokenizer.Gemma4 {
		add("ggml.model", ggufGemma4)
	} else {
		add("ggml.model", "gpt2")
		add("ggml.pre", v.Pre)
	}
	add("ggml.tokens", v.Tokens)
	add("ggml.token_type", kinds)
	add("ggml.merges", v.Merges)
	names := proc.SpecialTokens()
	if len(v.Before) > 0 {
		names["bos_token"] = v.Before[0]
	}
	if len(v.After) > 0 {
		names["eos_token"] = v.After[0]
	}
	for _, one := range [][2]string{{"bos_token", "bos"}, {"eos_token", "eos"}, {"unk_token", "unknown"}, {"pad_token", "padding"}} {
		if id, ok := proc.Tokenizer.ID(names[one[0]]); ok {
			add("ggml."+one[1]+"_token_id", uint32(id))
		}
	}
	add("ggml.add_bos_token", len(v.Before) > 0)
	add("ggml.add_eos_token", len(v.After) > 0)
	add("ggml.add_space_prefix", false)
	if len(proc.Suppressed) > 0 {
		pairs = append(pairs, gguf.Pair{Key: keySuppressed, Value: proc.Suppressed})
	}
	if !proc.NoChatTemplate {
		add("chat_template", proc.Template().Source())
	}
	return pairs, nil
}

// openWhole opens a model with its embedders: a folder or a GGUF file.
func openWhole(path string) (*Decoder, error) {
	if isFile(path) {
		return openGGUF(path)
	}
	switch kind, err := folderKind(path); {
	case err != nil:
		return nil, err
	case kind == gemmaFolder:
		return openGemma(path)
	case kind == prefixedFolder:
		return openPrefixed(path)
	}
	p, err := openModelDecoder(path)
	if err != nil {
		return nil, err
	}
	c, err := vlm.ReadConfig(path)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.Whole, p.weights = &c, wholeSource{p.weights.(modelSource).setSource}
	return p, nil
}

// wholeSource reads a model folder's parameters by the names of Decoder.fileName.
type wholeSource struct{ *setSource }

func (s wholeSource) name(name string) string {
	for _, prefix := range ggufPrefixes {
		if strings.HasPrefix(name, prefix[0]) {
			return name
		}
	}
	return vlm.DecoderPrefix + name
}

func (s wholeSource) shape(name string) ([]int, bool) { return s.setSource.shape(s.name(name)) }

func (s wholeSource) read(name string, from int, dst []float32) error {
	return s.setSource.read(s.name(name), from, dst)
}

func (s wholeSource) unexpected(known func(string) bool) string {
	return s.setSource.unexpected(func(name string) bool { return known(strings.TrimPrefix(name, vlm.DecoderPrefix)) })
}
