package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"

	"patchwork/nn/gguf"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

// Metadata keys of GGUF files that vlmtool writes, beside llama.cpp's. Each holds the text of a
// file of a model folder.
const (
	keyTokenizer       = "tokenizer.huggingface.json" // a key of GGUF's specification
	keyTokenizerConfig = "vlm.tokenizer_config"
	keyChatTemplate    = "vlm.chat_template" // absent: it is in tokenizer_config.json
	keyConfig          = "vlm.config"        // absent: a decoder alone
	keyGeneration      = "vlm.generation_config"
	keyPreprocessor    = "vlm.preprocessor_config"
)

// ggufModel returns the configuration of a model with an image embedder; nil: the file holds a
// decoder alone.
func ggufModel(f *gguf.File) (*vlm.Config, error) {
	text, ok := f.Metadata.Text(keyConfig)
	if !ok {
		return nil, nil
	}
	c, err := vlm.ParseConfig([]byte(text), fmt.Sprintf("%s: %s", f.Name(), keyConfig))
	return &c, err
}

// ggufOwnProcessor makes the processor from the texts of the tokenizer's files.
func ggufOwnProcessor(f *gguf.File, patches int) (*vlm.Processor, error) {
	part := func(key string) []byte {
		text, _ := f.Metadata.Text(key)
		return []byte(text)
	}
	tok, err := tokenizer.Parse(part(keyTokenizer))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", f.Name(), keyTokenizer, err)
	}
	config := part(keyTokenizerConfig)
	if len(config) == 0 {
		if config, err = ggufTokenizerConfig(f, tok); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	var jinja []byte
	if f.Metadata.Has(keyChatTemplate) {
		jinja = part(keyChatTemplate)
	}
	proc, err := newProcessor(tok, config, jinja, patches)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if !f.Metadata.Has(keyGeneration) {
		proc.AddEOS(ggufEOS(f, tok)...)
		if proc.Suppressed, err = ggufSuppressed(f.Metadata, tok.Len()); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		return proc, nil
	}
	named, err := parseEOS(part(keyGeneration), tok.Len())
	if err == nil {
		proc.Suppressed, err = parseSuppressed(part(keyGeneration), tok.Len())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", f.Name(), keyGeneration, err)
	}
	proc.AddEOS(named...)
	return proc, nil
}

// newProcessor makes a processor from the contents of tokenizer_config.json and
// chat_template.jinja, nil for none.
func newProcessor(tok *tokenizer.Tokenizer, config, jinja []byte, patches int) (*vlm.Processor, error) {
	template, err := chat.ParseFiles(config, jinja)
	if errors.Is(err, chat.ErrNoTemplate) {
		template, err = chat.WithoutTemplate(config)
	}
	if err != nil {
		return nil, err
	}
	proc, err := vlm.NewProcessor(tok, template, patches, config)
	if err != nil {
		return nil, err
	}
	proc.ChatTemplate = jinja
	proc.SetEOS(template.EOSToken(), nil)
	return proc, nil
}

// ownTexts are the metadata that only vlmtool reads.
func ownTexts(m *vlm.Model, proc *vlm.Processor) ([]gguf.Pair, error) {
	tok, err := proc.Tokenizer.MarshalJSON()
	if err != nil {
		return nil, err
	}
	pairs := []gguf.Pair{{Key: keyTokenizer, Value: string(tok)}, {Key: keyTokenizerConfig, Value: string(proc.TokenizerConfig)}}
	if proc.ChatTemplate != nil {
		pairs = append(pairs, gguf.Pair{Key: keyChatTemplate, Value: string(proc.ChatTemplate)})
	}
	for _, one := range []struct {
		key   string
		value any
		only  bool
	}{
		{keyGeneration, proc.GenerationConfig(), true},
		{keyConfig, m.Config, !m.Config.TextOnly()},
		{keyPreprocessor, preprocessorConfig(m.Config), !m.Config.TextOnly()},
	} {
		if !one.only {
			continue
		}
		text, err := json.Marshal(one.value)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, gguf.Pair{Key: one.key, Value: string(text)})
	}
	return pairs, nil
}
