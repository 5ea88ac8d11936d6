package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"patchwork/vlm"
)

// TextResult is the result of scoring a text.
type TextResult struct {
	Tokens      int     `json:"tokens"` // predicted tokens
	Windows     int     `json:"windows"`
	NLLPerToken float64 `json:"nll_per_token"`
	Perplexity  float64 `json:"perplexity"`
	Device      string  `json:"device"`
}

// maxTextWindow is the window length of RunText, in tokens.
const maxTextWindow = 2048

// RunText scores a plain text; text that looks like control tokens is encoded as text. bos is
// BOSAuto, BOSYes or BOSNo. A text longer than the context is split into windows without overlap;
// the first token of each is not predicted.
func RunText(ctx context.Context, runner *vlm.Runner, text, bos string) (TextResult, error) {
	before, after, err := runner.Processor.Around(bos)
	if err != nil {
		return TextResult{}, err
	}
	plain, err := runner.Processor.Tokenizer.EncodePlain(text)
	if err != nil {
		return TextResult{}, err
	}
	ids := slices.Concat(before, plain, after)
	if len(ids) < 2 {
		return TextResult{}, fmt.Errorf("the text has %d tokens; scoring needs at least 2", len(ids))
	}
	window := min(maxTextWindow, runner.Config.Text.MaxPositionEmbeddings)
	r := TextResult{Device: runner.Device.Info().Device}
	var sum float64
	for len(ids) > 1 {
		n := min(window, len(ids))
		nll, _, err := Score(ctx, runner, ids[:n])
		if err != nil {
			return r, err
		}
		for _, v := range nll {
			sum += float64(v)
		}
		r.Tokens, r.Windows, ids = r.Tokens+len(nll), r.Windows+1, ids[n:]
	}
	if r.NLLPerToken = sum / float64(r.Tokens); math.IsNaN(r.NLLPerToken) {
		return r, fmt.Errorf("the model's output is not a number")
	}
	r.Perplexity = math.Exp(r.NLLPerToken)
	return r, nil
}
