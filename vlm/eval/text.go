package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"patchwork/vlm"
)

// TextResult is how well a model foretells a text without pictures.
type TextResult struct {
	Tokens      int     `json:"tokens"` // predicted
	Windows     int     `json:"windows"`
	NLLPerToken float64 `json:"nll_per_token"`
	Perplexity  float64 `json:"perplexity"`
	Device      string  `json:"device"`
}

// maxTextWindow is the context in which a text is scored, in tokens.
const maxTextWindow = 2048

// RunText scores a plain text, what looks like control tokens included as
// text. bos says what stands around it: BOSAuto, BOSYes or BOSNo. A text longer than
// the context is cut into windows that do not overlap; the first token of each is not
// predicted.
func RunText(ctx context.Context, l *vlm.Runner, text, bos string) (TextResult, error) {
	before, behind, err := l.Processor.Around(bos)
	if err != nil {
		return TextResult{}, err
	}
	plain, err := l.Processor.Tokenizer.EncodePlain(text)
	if err != nil {
		return TextResult{}, err
	}
	ids := slices.Concat(before, plain, behind)
	if len(ids) < 2 {
		return TextResult{}, fmt.Errorf("the text has %d tokens; two are the least that can be scored", len(ids))
	}
	window := min(maxTextWindow, l.Config.Text.MaxPositionEmbeddings)
	r := TextResult{Device: l.Device.Info().Device}
	var sum float64
	for len(ids) > 1 {
		n := min(window, len(ids))
		nll, _, err := Score(ctx, l, ids[:n])
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
