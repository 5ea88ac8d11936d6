package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"patchwork/nn/gguf"
	"patchwork/shaders/quant"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// openGGUF opens a GGUF file, whose metadata holds the configuration and the tokenizer.
func openGGUF(path string) (*Decoder, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	p := &Decoder{Path: path, processor: func(patches int) (*vlm.Processor, error) { return ggufProcessor(f, patches) }}
	if p.model, err = ggufModel(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Readable(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if p.model != nil {
		p.Text = p.model.Text
	} else if p.Text, err = ggufConfig(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	p.weights = &ggufSource{File: f, config: p.Text}
	return p, nil
}

// ggufConfig makes the decoder's configuration from the metadata.
func ggufConfig(f *gguf.File) (vlm.TextConfig, error) {
	m := f.Metadata
	arch, _ := m.Text("general.architecture")
	kind := modelTypes[arch]
	if kind == "" {
		return vlm.TextConfig{}, fmt.Errorf("general.architecture is %.40q; %s are supported", arch, strings.Join(slices.Sorted(maps.Keys(modelTypes)), ", "))
	}
	key := func(name string) string { return arch + "." + name }
	fields := map[string]any{
		"model_type": kind, "hidden_act": "silu",
		"architectures": []string{vlm.Architectures[kind]},
	}
	for _, one := range []struct {
		field, key string
		needed     bool
	}{
		{"hidden_size", "embedding_length", true}, {"intermediate_size", "feed_forward_length", true},
		{"num_hidden_layers", "block_count", true}, {"num_attention_heads", "attention.head_count", true},
		{"num_key_value_heads", "attention.head_count_kv", false}, {"head_dim", "attention.key_length", false},
		{"max_position_embeddings", "context_length", true},
	} {
		n, ok := m.Int(key(one.key))
		switch {
		case ok:
			fields[one.field] = n
		case arch == "gemma4" && one.field == "num_key_value_heads": // an array, see ggufGemma4Config
		case one.needed || m.Has(key(one.key)):
			return vlm.TextConfig{}, fmt.Errorf("metadata key %q is missing or not a number", key(one.key))
		}
	}
	if theta, ok := m.Float(key("rope.freq_base")); ok {
		fields["rope_theta"] = shortestDecimal(theta)
	}
	eps, ok := m.Float(key("attention.layer_norm_rms_epsilon"))
	if !ok {
		return vlm.TextConfig{}, fmt.Errorf("metadata key %q is missing or not a number", key("attention.layer_norm_rms_epsilon"))
	}
	fields["rms_norm_eps"] = shortestDecimal(eps)
	embedding, ok := f.Tensor("token_embd.weight")
	if !ok || len(embedding.Shape) != 2 {
		return vlm.TextConfig{}, fmt.Errorf("tensor %q is missing or not a matrix", "token_embd.weight")
	}
	fields["vocab_size"] = embedding.Shape[0]
	_, untied := f.Tensor("output.weight")
	_, biased := f.Tensor("blk.0.attn_q.bias")
	fields["tie_word_embeddings"], fields["attention_bias"] = !untied, biased && kind != "qwen2"
	if isGemma(kind) {
		return ggufGemma(f, arch, fields)
	}
	c, err := parseText(fields)
	if err != nil {
		return c, err
	}
	if err := checkGGUF(f, c); err != nil {
		return c, err
	}
	scaling, err := ggufRope(f, arch, c.MaxPositionEmbeddings, c.HeadDim, c.RopeTheta)
	if scaling == nil || err != nil {
		return c, err
	}
	fields["rope_scaling"] = scaling
	return parseText(fields)
}

// parseText parses the fields of config.json.
func parseText(fields map[string]any) (c vlm.TextConfig, err error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(text, &c)
}

// shortestDecimal returns the shortest decimal of a number that was a float32: 1e-05 for
// 9.999999747378752e-06.
func shortestDecimal(x float64) float64 {
	if float64(float32(x)) != x {
		return x
	}
	short, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', -1, 32), 64) // it was just formatted
	return short
}

// formatValue formats a metadata value for a message.
func formatValue(value any) string {
	switch v := value.(type) {
	case float64:
		return fmt.Sprint(shortestDecimal(v))
	case string:
		return fmt.Sprintf("%.40q", v)
	}
	return fmt.Sprintf("%.40s", fmt.Sprint(value)) // not %.40v, which adds digits to numbers
}

// checkGGUF returns an error for settings that the decoder does not support.
func checkGGUF(f *gguf.File, c vlm.TextConfig) error {
	m, arch := f.Metadata, archOf(c.ModelType)
	for _, one := range []struct {
		name string
		want int
	}{{"rope.dimension_count", c.AttentionKinds()[0].HeadDim}, {"attention.value_length", c.AttentionKinds()[0].HeadDim}, {"expert_count", 0}} {
		if n, ok := m.Int(arch + "." + one.name); ok && n != one.want {
			return fmt.Errorf("%s.%s is %d; only %d is supported", arch, one.name, n, one.want)
		}
	}
	return checkGGUFKeys(m, c)
}

// ggufSource reads a GGUF file's tensors under Hugging Face's names and in its row order.
type ggufSource struct {
	*gguf.File
	config          vlm.TextConfig
	withoutEmbedder bool // only the decoder of a model with an image embedder is read
}

// Hugging Face's names of the tensors over the vocabulary.
const (
	EmbeddingName = "model.embed_tokens.weight"
	HeadName      = "lm_head.weight"
)

var (
	ggufNames = map[string]string{EmbeddingName: "token_embd.weight", "model.norm.weight": "output_norm.weight", HeadName: "output.weight"}
	// ggufLayerParts maps the names within a layer.
	ggufLayerParts = map[string]string{
		"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
		"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	}
	// gemmaLayerParts are those of Gemma's that differ.
	gemmaLayerParts = map[string]string{
		"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
	}
	// ggufPrefixes map the names of the embedders of images and sound, and of image experts. Where two of
	// GGUF's fit, the last is meant.
	ggufPrefixes = [][2]string{
		{"embedder.", "v."}, {"encoder.", "v.encoder."}, {vlm.ExpertPrefix, "v.experts."}, {"connector.", "mm."},
		{vlm.AudioPrefix + "embedding_projection.", "mm.a.input_projection."},
	}

	layerName   = regexp.MustCompile(`^model\.layers\.(\d+)\.(.+)\.(weight|bias)$`)
	layerScalar = regexp.MustCompile(`^model\.layers\.(\d+)\.layer_scalar$`)
)

// modelTypes are the model types of config.json by general.architecture.
var modelTypes = map[string]string{
	"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text", "gemma4": "gemma4_unified_text",
}

// archOf is general.architecture of a model type.
func archOf(kind string) string {
	for arch, k := range modelTypes {
		if k == kind {
			return arch
		}
	}
	return kind
}

// layerPart is GGUF's name of a part of a layer, or "".
func layerPart(kind, part string) string {
	if name, ok := gemmaLayerParts[part]; ok && isGemma(kind) {
		return name
	}
	return ggufLayerParts[part]
}

// GGUFName returns GGUF's name of a parameter of a model type, or "".
func GGUFName(kind, name string) string {
	if name, ok := ggufNames[name]; ok {
		return name
	}
	if p := layerName.FindStringSubmatch(name); p != nil && layerPart(kind, p[2]) != "" {
		return "blk." + p[1] + "." + layerPart(kind, p[2]) + "." + p[3]
	}
	if p := layerScalar.FindStringSubmatch(name); p != nil {
		return "blk." + p[1] + ".layer_output_scale.weight"
	}
	for _, prefix := range ggufPrefixes {
		if rest, ok := strings.CutPrefix(name, prefix[0]); ok {
			return prefix[1] + rest
		}
	}
	return ""
}

// ggufName is GGUF's name of a parameter.
func (s *ggufSource) ggufName(name string) string { return GGUFName(s.config.ModelType, name) }

func (s *ggufSource) shape(name string) ([]int, bool) {
	t, ok := s.Tensor(s.ggufName(name))
	return t.Shape, ok
}

func (s *ggufSource) files() []string { return s.Names() }

func (s *ggufSource) unexpected(known func(string) bool) string {
	expected := map[string]bool{}
	for name := range ggufNames {
		expected[s.ggufName(name)] = known(name)
	}
	parts := slices.Concat(slices.Collect(maps.Keys(ggufLayerParts)), slices.Collect(maps.Keys(gemmaLayerParts)))
	for layer := range s.config.NumHiddenLayers {
		names := []string{fmt.Sprintf("model.layers.%d.layer_scalar", layer)}
		for _, part := range parts {
			for _, kind := range []string{"weight", "bias"} {
				names = append(names, fmt.Sprintf("model.layers.%d.%s.%s", layer, part, kind))
			}
		}
		for _, name := range names {
			expected[s.ggufName(name)] = expected[s.ggufName(name)] || known(name)
		}
	}
	for _, t := range s.Tensors {
		for _, prefix := range ggufPrefixes {
			if rest, ok := strings.CutPrefix(t.Name, prefix[1]); ok {
				expected[t.Name] = s.withoutEmbedder || known(prefix[0]+rest)
			}
		}
		if !expected[t.Name] && t.Name != ropeFactors {
			return t.Name
		}
	}
	return ""
}

func (s *ggufSource) read(name string, from int, dst []float32) error {
	ggufName := s.ggufName(name)
	t, ok := s.Tensor(ggufName)
	if !ok {
		return fmt.Errorf("%s: tensor %q is missing", s.Name(), ggufName)
	}
	if !s.permuted(name) {
		return s.Read(ggufName, from, dst)
	}
	cols := t.Size() / t.Shape[0]
	return unpermute(dst, from/cols, cols, s.config.HeadDim, func(row int, rows []float32) error {
		return s.Read(ggufName, row*cols, rows)
	})
}

// unpermute reads rows of size elements of T each, from a row on, in Hugging Face's order.
// llama.cpp's RoPE rotates neighbouring rows of a head, Hugging Face's rotates rows half a
// head apart (convert_hf_to_gguf.py, LlamaModel.permute): Hugging Face's row (half, pair) of
// a head is row (pair, half) in the file.
func unpermute[T float32 | byte](dst []T, row, size, head int, read func(row int, rows []T) error) error {
	first, last := row/head*head, (row+len(dst)/size+head-1)/head*head // whole heads
	permuted := make([]T, (last-first)*size)
	if err := read(first, permuted); err != nil {
		return err
	}
	for ; len(dst) > 0; dst, row = dst[size:], row+1 {
		half, pair := row%head/(head/2), row%head%(head/2)
		source := row - row%head + 2*pair + half - first
		copy(dst[:size], permuted[source*size:(source+1)*size])
	}
	return nil
}

func (s *ggufSource) format(name string) (quant.Format, bool) {
	t, ok := s.Tensor(s.ggufName(name))
	if !ok || len(t.Shape) != 2 {
		return 0, false
	}
	return t.Type.Quantised()
}

func (s *ggufSource) readBlocks(name string, row int, dst []byte) error {
	ggufName := s.ggufName(name)
	t, ok := s.Tensor(ggufName)
	if !ok {
		return fmt.Errorf("%s: tensor %q is missing", s.Name(), ggufName)
	}
	size := int(t.Bytes()) / t.Shape[0]
	read := func(row int, rows []byte) error { return s.ReadBlocks(ggufName, row*size, rows) }
	if !s.permuted(name) {
		return read(row, dst)
	}
	return unpermute(dst, row, size, s.config.HeadDim, read)
}

var queryOrKey = regexp.MustCompile(`^model\.layers\.\d+\.self_attn\.[qk]_proj\.`)

// permuted reports whether the parameter's rows are in llama.cpp's order.
func (s *ggufSource) permuted(name string) bool {
	return s.config.ModelType == "llama" && queryOrKey.MatchString(name)
}

// ggufProcessor makes the processor from the tokenizer and chat template in the metadata.
func ggufProcessor(f *gguf.File, patches int) (*vlm.Processor, error) {
	if f.Metadata.Has(keyTokenizer) {
		return ggufOwnProcessor(f, patches)
	}
	tok, err := ggufTokenizer(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	config, err := ggufTokenizerConfig(f, tok)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	template, err := chat.ParseConfig(config)
	if errors.Is(err, chat.ErrNoTemplate) {
		template, err = chat.WithoutTemplate(config)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	proc, err := vlm.NewProcessor(tok, template, patches, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	proc.SetEOS("", ggufEOS(f, tok))
	if proc.Suppressed, err = ggufSuppressed(f.Metadata, tok.Len()); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return proc, nil
}

func ggufTokenizer(f *gguf.File) (*tokenizer.Tokenizer, error) {
	m := f.Metadata
	v, err := ggufVocabulary(m)
	if err != nil {
		return nil, err
	}
	if kinds, ok := m.Ints("tokenizer.ggml.token_type"); ok {
		for _, k := range kinds {
			v.Kinds = append(v.Kinds, tokenizer.Kind(k))
		}
	}
	markEOS(&v)
	markVisible(&v)
	if v.Before, v.After, err = ggufSpecialTokens(m, v); err != nil {
		return nil, err
	}
	return tokenizer.FromVocabulary(v)
}

// ggufVocabulary reads the tokens, and their merges or scores, by the kind of the tokenizer.
func ggufVocabulary(m gguf.Metadata) (v tokenizer.Vocabulary, err error) {
	kind, _ := m.Text("tokenizer.ggml.model")
	table, ok := "tokenizer.ggml.merges", false
	switch kind {
	case "gpt2", ggufGemma4:
		v.Merges, ok = m.Texts(table)
	case ggufSentencePiece:
		table = "tokenizer.ggml.scores"
		v.Scores, ok = m.Floats(table)
	default:
		return v, fmt.Errorf("tokenizer.ggml.model is %q; gpt2 (byte-level BPE), llama (SentencePiece) and gemma4 are supported", kind)
	}
	var okTokens bool
	if v.Tokens, okTokens = m.Texts("tokenizer.ggml.tokens"); !ok || !okTokens {
		return v, fmt.Errorf("tokenizer.ggml.tokens or %s is missing", table)
	}
	switch kind {
	case ggufGemma4:
		v.Pre = tokenizer.Gemma4
	case ggufSentencePiece:
		v.Pre = tokenizer.SentencePiece
		if prefix, ok := m.Bool("tokenizer.ggml.add_space_prefix"); prefix || !ok {
			return v, errors.New("tokenizer.ggml.add_space_prefix is true, as in Llama 2; of SentencePiece's tokenizers only those without a space before the text are supported, such as Gemma's")
		}
	default:
		if v.Pre, ok = m.Text("tokenizer.ggml.pre"); !ok || v.Pre == "" {
			return v, errors.New("tokenizer.ggml.pre is missing, so the pre-tokenizer is unknown; convert the model to GGUF again with current tools")
		}
	}
	return v, nil
}

// Values of tokenizer.ggml.model beside gpt2.
const (
	ggufSentencePiece = "llama"
	ggufGemma4        = "gemma4"
)

// markVisible marks the user-defined tokens of Gemma 4's files as control tokens, which they are in
// its tokenizer.json. llama.cpp's converter changes them so that its parser of answers sees them; in
// a user's text they would begin a thought or call a tool.
func markVisible(v *tokenizer.Vocabulary) {
	for id := range v.Kinds {
		if v.Pre == tokenizer.Gemma4 && id < len(v.Tokens) && v.Kinds[id] == tokenizer.KindUserDefined && strings.Contains(v.Tokens[id], "|") {
			v.Kinds[id] = tokenizer.KindControl
		}
	}
}

// markEOS marks tokens that end generation by their name as control tokens, whatever their type in
// the file, as llama.cpp does. As ordinary tokens they would never match in a prompt.
func markEOS(v *tokenizer.Vocabulary) {
	for id, token := range v.Tokens {
		if !slices.Contains(eosNames, token) {
			continue
		}
		if v.Kinds == nil {
			v.Kinds = slices.Repeat([]tokenizer.Kind{tokenizer.KindNormal}, len(v.Tokens))
		}
		if id < len(v.Kinds) && v.Kinds[id] == tokenizer.KindNormal {
			v.Kinds[id] = tokenizer.KindControl
		}
	}
}

// ggufSpecialTokens returns the tokens that llama.cpp puts before and after a text.
func ggufSpecialTokens(m gguf.Metadata, v tokenizer.Vocabulary) (before, after []string, err error) {
	token := func(flag, key string, otherwise bool) ([]string, error) {
		add, ok := m.Bool(flag)
		if !ok {
			add = otherwise
		}
		if !add {
			return nil, nil
		}
		id, ok := m.Int(key)
		if !ok || id < 0 || id >= len(v.Tokens) {
			return nil, fmt.Errorf("%s is set, but %s is missing or invalid", flag, key)
		}
		return v.Tokens[id : id+1], nil
	}
	bos := (v.Pre == "llama-bpe" || v.Pre == tokenizer.SentencePiece || v.Pre == tokenizer.Gemma4) && m.Has("tokenizer.ggml.bos_token_id")
	if before, err = token("tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", bos); err == nil {
		after, err = token("tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", false)
	}
	return before, after, err
}

// ggufTokenizerConfig makes tokenizer_config.json from the metadata.
func ggufTokenizerConfig(f *gguf.File, tok *tokenizer.Tokenizer) ([]byte, error) {
	m := f.Metadata
	config := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": false, "clean_up_tokenization_spaces": false}
	for _, one := range [][2]string{{"bos_token", "bos"}, {"eos_token", "eos"}, {"unk_token", "unknown"}, {"pad_token", "padding"}} {
		field, key := one[0], "tokenizer.ggml."+one[1]+"_token_id"
		if !m.Has(key) {
			continue
		}
		id, ok := m.Int(key)
		if !ok || id < 0 || id > math.MaxInt32 || tok.Token(int32(id)) == "" {
			return nil, fmt.Errorf("%s is %v, which is not an id of the tokenizer's %d tokens", key, m.Value(key), tok.Len())
		}
		config[field] = tok.Token(int32(id))
	}
	if template, ok := m.Text("tokenizer.chat_template"); ok {
		config["chat_template"] = template
	}
	return json.MarshalIndent(config, "", "  ")
}
