package eval

import (
	"context"
	"fmt"
	"slices"

	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
)

// turnScore is the score of a turn's true answer: for each of its tokens, the end of turn
// included, the argmax of the logits and the negative log-likelihood in nats.
type turnScore struct {
	truth, argmax []int32
	nll           []float32
}

func (s turnScore) sum() float64 {
	var sum float64
	for _, v := range s.nll {
		sum += float64(v)
	}
	return sum
}

// score scores turns, each on its own after the images and the sound.
func (e *evaluator) score(ctx context.Context, files data.Prepared, turns []chat.Turn) ([]turnScore, error) {
	modes := packing.Modes{Attention: e.Config.Attention, Turns: packing.SharedPrefix, Loss: packing.OnAnswers}
	if e.Config.Attention != packing.Causal {
		return e.scoreTurns(ctx, files, turns, modes)
	}
	modes.Turns = packing.InConversation // causal attention has no shared-prefix turns
	var out []turnScore
	for _, t := range turns {
		one, err := e.scoreTurns(ctx, files, []chat.Turn{t}, modes)
		if err != nil {
			return nil, err
		}
		out = append(out, one...)
	}
	return out, nil
}

// maxRowTokens limits the length of a row of shared-prefix turns.
const maxRowTokens = 1 << 14

func (e *evaluator) scoreTurns(ctx context.Context, files data.Prepared, turns []chat.Turn, modes packing.Modes) ([]turnScore, error) {
	c := e.conversation(files, turns)
	length, err := e.rowLength(c, modes.Turns)
	if err != nil {
		return nil, err
	}
	sampler := packing.Sampler{Encoder: e.Processor.Encoder, RowLen: length, Turns: modes.Turns}
	samples, _, err := sampler.Samples(0, c)
	if err != nil {
		return nil, err
	}
	var out []turnScore
	for _, sample := range samples {
		some, err := e.scoreSample(ctx, files, sample, modes, length)
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

// conversation is turns about images and sound.
func (e *evaluator) conversation(files data.Prepared, turns []chat.Turn) chat.Conversation {
	c := chat.Conversation{Turns: turns, Images: len(files.Images)}
	if e.Config.Vision.KeepsAspect() {
		for _, s := range files.Sizes {
			grid, _ := e.Config.Vision.ImageGrid(s.Width, s.Height) // without an error, since the image is prepared
			c.Grids = append(c.Grids, grid)
		}
	}
	for _, samples := range files.Clips {
		c.Clips = append(c.Clips, e.Config.Audio.Tokens(len(samples)))
	}
	return c
}

// rowLength returns the row length for a conversation: that of all turns, up to maxRowTokens, or
// at least that of the longest.
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
	const step = 64 // rows of similar length share programs
	return (max(longest, min(all, maxRowTokens)) + step - 1) / step * step, nil
}

// scoreSample scores the turns of one packed sample.
func (e *evaluator) scoreSample(ctx context.Context, files data.Prepared, sample *packing.Sample, modes packing.Modes, length int) ([]turnScore, error) {
	b, err := packing.Build(packing.Shape{Rows: 1, T: length, Patches: e.Config.Vision.Patches()}, modes, [][]*packing.Sample{{sample}})
	if err != nil {
		return nil, err
	}
	for _, samples := range files.Clips {
		b.Frames = append(b.Frames, e.Config.Audio.Frames(samples)...)
	}
	scorer, err := e.scorer(length, len(files.Images))
	if err != nil {
		return nil, err
	}
	nll, argmax, err := scorer.run(ctx, b, slices.Concat(files.Images...))
	if err != nil {
		return nil, err
	}
	starts := sample.TurnStarts
	if len(starts) == 0 {
		starts = []int{0}
	}
	var out []turnScore
	at := 0 // index of the target
	for i, lo := range starts {
		hi := sample.Len()
		if i+1 < len(starts) {
			hi = starts[i+1]
		}
		truth := slices.DeleteFunc(slices.Clone(b.Targets[lo:hi]), func(id int32) bool { return id == packing.Ignore })
		n := len(truth)
		// A template may have targets after the end token, such as a newline, which are
		// never generated.
		to := n
		if end := slices.IndexFunc(truth, e.Processor.IsEOS); end >= 0 {
			to = end + 1
		}
		out = append(out, turnScore{truth[:to], argmax[at : at+to], nll[at : at+to]})
		at += n
	}
	return out, nil
}

// close releases the memory of the generator and the scorers.
func (e *evaluator) close() {
	e.generator.Close()
	for _, s := range e.scorers {
		s.close()
	}
}

// scorer returns the scorer for rows of a length with up to that many images.
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
