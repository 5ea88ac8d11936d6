package train

import (
	"errors"
	"fmt"
	"io/fs"

	"patchwork/vlm"
	"patchwork/vlm/pretrained"
)

// openDecoder builds the model around a pretrained decoder, whose configuration replaces the
// recipe's. A run with a checkpoint does not need the decoder's files.
func (t *trainer) openDecoder() error {
	if t.restored.Dir != "" {
		return t.reopenDecoder(t.restored.Dir)
	}
	p, err := pretrained.Open(t.Decoder)
	if err != nil {
		return err
	}
	defer p.Close()
	if t.decoder, err = describeDecoder(p); err != nil {
		return err
	}
	if t.processor, err = t.Recipe.hear(p.Processor(t.Recipe.Vision.Patches())); err != nil {
		return err
	}
	if t.processor.NoChatTemplate {
		return fmt.Errorf("--decoder: %s has no chat template, which training needs; use the instruct version of the model", t.Decoder)
	}
	t.Recipe = t.Recipe.withText(p.WithTokens(t.processor.Tokenizer))
	if t.model, err = vlm.NewModel(t.Recipe.configOf(*t.Recipe.Text, t.processor), t.Recipe.Init); err != nil {
		return err
	}
	return p.Check(t.model)
}

// reopenDecoder builds the model from a checkpoint of the run. The decoder's files are compared
// with those of the run if they still exist.
func (t *trainer) reopenDecoder(checkpoint string) error {
	saved, err := readRun(t.Out)
	if err != nil {
		return err
	}
	p, err := pretrained.Open(t.Decoder)
	switch {
	case errors.Is(err, fs.ErrNotExist) && saved.Decoder != nil && saved.Decoder.Path == t.Decoder:
		t.decoder = saved.Decoder
	case err != nil:
		return err
	default:
		t.decoder, err = describeDecoder(p)
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
	}
	if t.model, t.processor, err = pretrained.OpenModel(checkpoint); err != nil {
		return err
	}
	t.Recipe = t.Recipe.withText(t.model.Config.Text)
	return nil
}

// withText returns the recipe with another decoder, and the embedder adapted to its hidden size.
func (r Recipe) withText(text vlm.TextConfig) Recipe {
	r.Text = &text
	if !r.Vision.None() {
		r.Vision.HiddenSize = text.HiddenSize
	}
	if !r.Audio.None() {
		r.Audio.HiddenSize = text.HiddenSize
	}
	return r
}

// openStart opens the model that a run starts from, without its weights.
func (t *trainer) openStart() (*vlm.Model, *vlm.Processor, error) {
	if t.MMProj == "" {
		return pretrained.OpenModel(t.Model)
	}
	p, err := pretrained.OpenParts(t.Model, t.MMProj)
	if err != nil {
		return nil, nil, err
	}
	defer p.Close()
	return p.Structure()
}

// loadStart reads the weights of the model that a run starts from.
func (t *trainer) loadStart() error {
	if t.MMProj == "" {
		return pretrained.ReadWeights(t.model, t.Device, t.Model)
	}
	p, err := pretrained.OpenParts(t.Model, t.MMProj)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.LoadWeights(t.Device, t.model)
}

// withModel returns the recipe as used for training a Gemma 4, whose sizes of images and sound are the
// model's, but for the tokens of an image, if the recipe has the model's sizes already.
func (r Recipe) withModel(c vlm.Config) Recipe {
	if !c.IsGemma() {
		return r
	}
	if !c.Vision.SameButTokens(r.Vision) {
		r.Vision = c.Vision
	}
	r.Text, r.Audio = &c.Text, c.Audio
	return r
}

// ModelOptions are what a recipe changes of the model that it starts from.
type ModelOptions struct {
	// KeepAttention: the mode of attention is the recipe's, also for Gemma 4, which was trained with one.
	KeepAttention bool
	ImageTokens   int    // of an image, at most; 0 = the model's
	MMProj        string // as Options.MMProj
}

// ImageTokensError reports a number of tokens of an image that the model of a path cannot have.
type ImageTokensError struct {
	Path string
	Err  error
}

func (e *ImageTokensError) Error() string {
	return fmt.Sprintf("--image-tokens: %s: %v", e.Path, e.Err)
}

// WithModel returns the recipe as used for training the model of a path. The error is an
// *ImageTokensError for tokens that the model cannot have.
func (r Recipe) WithModel(path string, o ModelOptions) (Recipe, error) {
	c, err := pretrained.ReadConfig(path, o.MMProj)
	if err != nil {
		return r, err
	}
	if c.IsGemma() && !o.KeepAttention {
		r.Attention = c.Attention
	}
	if r = r.withModel(c); o.ImageTokens == 0 {
		return r, nil
	}
	r.Vision = c.Vision
	if err := r.Vision.SetImageTokens(o.ImageTokens); err != nil {
		return r, &ImageTokensError{path, err}
	}
	return r, nil
}

// WithDecoder returns the recipe as used for training from a pretrained decoder.
func (r Recipe) WithDecoder(path string) (Recipe, error) {
	p, err := pretrained.Open(path)
	if err != nil {
		return r, err
	}
	defer p.Close()
	proc, err := r.hear(p.Processor(r.Vision.Patches()))
	if err != nil {
		return r, err
	}
	return r.withText(p.WithTokens(proc.Tokenizer)), nil
}

func describeDecoder(p *pretrained.Decoder) (*runDecoder, error) {
	fingerprint, err := p.Fingerprint()
	return &runDecoder{p.Path, fingerprint}, err
}

// loadDecoder initialises the embedder and loads the decoder's weights.
func (t *trainer) loadDecoder() error {
	if err := t.model.Params.Initialise(t.Device, t.Recipe.Seed, vlm.GroupEmbedder); err != nil {
		return err
	}
	p, err := pretrained.Open(t.Decoder)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Load(t.Device, t.model, t.processor, t.Recipe.Seed); err != nil {
		return fmt.Errorf("--decoder: %w", err)
	}
	return nil
}
