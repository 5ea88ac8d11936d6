package eval

import (
	"context"
	"fmt"
	"slices"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
)

// scored is what the model makes of one turn's true answer: for each of its
// tokens and the end of turn, the likeliest token in its place and the true
// one's negative log-likelihood.
type scored struct {
	truth, best []int32
	nll         []float32
}

func (s scored) sum() float64 {
	var sum float64
	for _, v := range s.nll {
		sum += float64(v)
	}
	return sum
}

// score scores turns, each alone behind the sample's pictures.
func (e *evaluator) score(ctx context.Context, pictures [][]byte, turns []chat.Turn) ([]scored, error) {
	modes := packing.Modes{Attention: e.Config.Attention, Turns: packing.SharedPrefix, Loss: packing.OnAnswers}
	if e.Config.Attention != packing.Causal {
		return e.scoreTurns(ctx, pictures, turns, modes)
	}
	modes.Turns = packing.InConversation // that attention knows no branches
	var out []scored
	for _, t := range turns {
		one, err := e.scoreTurns(ctx, pictures, []chat.Turn{t}, modes)
		if err != nil {
			return nil, err
		}
		out = append(out, one...)
	}
	return out, nil
}

// maxEvalRow bounds the tokens of a row of branches.
const maxRow = 1 << 14

func (e *evaluator) scoreTurns(ctx context.Context, pictures [][]byte, turns []chat.Turn, modes packing.Modes) ([]scored, error) {
	c := chat.Conversation{Turns: turns, Images: len(pictures)}
	length, err := e.rowLength(c, modes.Turns)
	if err != nil {
		return nil, err
	}
	sampler := packing.Sampler{Encoder: e.Processor.Encoder, RowLen: length, Turns: modes.Turns}
	samples, _, err := sampler.Samples(0, c)
	if err != nil {
		return nil, err
	}
	var out []scored
	for _, sample := range samples {
		some, err := e.scoreSample(ctx, pictures, sample, modes, length)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	if len(out) != len(turns) {
		return nil, fmt.Errorf("%d of %d questions were scored", len(out), len(turns))
	}
	return out, nil
}

// rowLength is the length of row for a conversation: all of it, or at least its
// longest branch where they are too many for one row.
func (e *evaluator) rowLength(c chat.Conversation, turns packing.Turns) (int, error) {
	longest, all := 0, 0
	if turns == packing.SharedPrefix {
		b, err := e.Processor.SharedPrefix(c)
		if err != nil {
			return 0, err
		}
		all = len(b.Prefix.IDs)
		for _, branch := range b.Turns {
			longest = max(longest, len(b.Prefix.IDs)+len(branch.IDs))
			all += len(branch.IDs)
		}
	} else {
		tokens, err := e.Processor.Conversation(c)
		if err != nil {
			return 0, err
		}
		longest, all = len(tokens.IDs), len(tokens.IDs)
	}
	if limit := e.Config.Text.MaxPositionEmbeddings; longest > limit {
		return 0, &generate.ContextError{Prompt: longest, Context: limit}
	}
	const step = 64 // so that rows share programs
	return (max(longest, min(all, maxRow)) + step - 1) / step * step, nil
}

// scoreSample scores the turns that one packed sample holds.
func (e *evaluator) scoreSample(ctx context.Context, pictures [][]byte, sample *packing.Sample, modes packing.Modes, length int) ([]scored, error) {
	b, err := packing.Build(packing.Shape{Rows: 1, T: length, Patches: e.Config.Vision.Patches()}, modes, [][]*packing.Sample{{sample}})
	if err != nil {
		return nil, err
	}
	scorer, err := e.scorer(length, len(pictures))
	if err != nil {
		return nil, err
	}
	nll, best, err := scorer.run(ctx, b, slices.Concat(pictures...))
	if err != nil {
		return nil, err
	}
	starts := sample.TurnStarts
	if len(starts) == 0 {
		starts = []int{0}
	}
	var out []scored
	at := 0 // target
	for i, lo := range starts {
		hi := sample.Len()
		if i+1 < len(starts) {
			hi = starts[i+1]
		}
		truth := slices.DeleteFunc(slices.Clone(b.Targets[lo:hi]), func(id int32) bool { return id == packing.Ignore })
		n := len(truth)
		// A template may mark more than generation would give: a line end behind the end
		// of the turn.
		to := n
		if end := slices.IndexFunc(truth, e.Processor.Ends); end >= 0 {
			to = end + 1
		}
		out = append(out, scored{truth[:to], best[at : at+to], nll[at : at+to]})
		at += n
	}
	return out, nil
}

// free releases the generator's and the scorers' memory.
func (e *evaluator) free() {
	e.generator.Close()
	for _, s := range e.scorers {
		s.close()
	}
}

// scorer is that of rows of a length with so many images at most.
func (e *evaluator) scorer(length, images int) (*scorer, error) {
	s := e.scorers[length]
	if s != nil && s.images >= images {
		return s, nil
	}
	if s != nil {
		s.close()
		delete(e.scorers, length)
	}
	s, err := newScorer(e.Runner, length, max(1, images), false)
	if err == nil {
		e.scorers[length] = s
	}
	return s, err
}
