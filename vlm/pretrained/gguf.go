package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"patchwork/nn/gguf"
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
	if p.Whole, err = ggufModel(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Readable(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if p.Whole != nil {
		p.Text = p.Whole.Text
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
