package packing

import (
	"slices"
	"sort"

	"patchwork/vlm/chat"
)

// Sample is a run of tokens that is packed into one row: a conversation, or a shared
// prefix followed by turns that do not attend to each other.
type Sample struct {
	Row        int // of the data set
	IDs        []int32
	LossMask   []bool      // by token: part of an answer
	Images     []int       // first image token of each image, ascending
	Grids      []chat.Grid // of each image; nil: each has the batch's number of patches
	Clips      []chat.Clip // of sound, ascending
	TurnStarts []int       // first token of each shared-prefix turn; nil for a conversation
}

// grid returns the patches of an image; patches is their number if the sample does not say.
func (s *Sample) grid(image, patches int) chat.Grid {
	if s.Grids != nil {
		return s.Grids[image]
	}
	return chat.SquareGrid(patches)
}

// Len returns the number of tokens.
func (s *Sample) Len() int { return len(s.IDs) }

// Counts summarize how conversations became samples.
type Counts struct {
	Samples   int
	Cut       int // conversations that lost some turns
	Skipped   int // conversations of which no turn fits a row
	TurnsLost int // turns lost by cutting and skipping
}

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.Samples += other.Samples
	c.Cut += other.Cut
	c.Skipped += other.Skipped
	c.TurnsLost += other.TurnsLost
}

// Sampler makes samples that fit a row. It is safe for concurrent use.
type Sampler struct {
	Encoder *chat.Encoder
	RowLen  int // tokens
	Turns   Turns
}

// Samples encodes row number row of the data set. A conversation that is too long is cut
// after the last turn that fits. Shared-prefix turns that do not fit one row continue in
// another sample with the same prefix; only a turn too long for a row is dropped.
func (s Sampler) Samples(row int, c chat.Conversation) ([]*Sample, Counts, error) {
	encode := s.conversation
	if s.Turns == SharedPrefix {
		encode = s.sharedPrefix
	}
	out, err := encode(c)
	if err != nil {
		return nil, Counts{}, err
	}
	counts := Counts{Samples: len(out.samples), TurnsLost: len(c.Turns) - out.turns}
	switch {
	case out.turns == 0:
		counts.Skipped = 1
	case counts.TurnsLost > 0:
		counts.Cut = 1
	}
	for _, one := range out.samples {
		one.Row = row
	}
	return out.samples, counts, nil
}

// fitted is samples and the number of turns in them.
type fitted struct {
	samples []*Sample
	turns   int
}

// mediaTokens returns the number of tokens of a conversation's images and clips.
func (s Sampler) mediaTokens(c chat.Conversation) int {
	n := s.Encoder.ImageTokens(c)
	for _, tokens := range c.Clips {
		n += tokens
	}
	return n
}

// maxTurns returns an upper bound on the number of leading turns that fit a row, computed
// from their lengths in bytes.
func (s Sampler) maxTurns(c chat.Conversation) int {
	tokens := s.mediaTokens(c)
	for i, turn := range c.Turns {
		if tokens += s.Encoder.MinTokens(turn); tokens > s.RowLen {
			return i
		}
	}
	return len(c.Turns)
}

func (s Sampler) conversation(c chat.Conversation) (fitted, error) {
	var failed error
	var fits chat.Tokens
	// A binary search, since a conversation may have thousands of turns. Its result was
	// tried and fits, even if a template makes lengths not quite monotonic.
	tooLong := func(i int) bool {
		tokens, err := s.Encoder.Conversation(chat.Conversation{System: c.System, Turns: c.Turns[:i+1], Images: c.Images, Grids: c.Grids, Clips: c.Clips})
		if err != nil {
			failed = err
		}
		if len(tokens.IDs) <= s.RowLen {
			fits = tokens
			return false
		}
		return true
	}
	turns := s.maxTurns(c)
	if turns > 0 && tooLong(turns-1) {
		turns = sort.Search(turns-1, tooLong)
	}
	if failed != nil || turns == 0 {
		return fitted{}, failed
	}
	return fitted{[]*Sample{{IDs: fits.IDs, LossMask: fits.LossMask, Images: fits.Images, Grids: fits.Grids, Clips: fits.Clips}}, turns}, nil
}

func (s Sampler) sharedPrefix(c chat.Conversation) (fitted, error) {
	shared := s.mediaTokens(c)
	tooLong := func(t chat.Turn) bool { return shared+s.Encoder.MinTokens(t) > s.RowLen }
	c.Turns = slices.DeleteFunc(slices.Clone(c.Turns), tooLong)
	all, err := s.Encoder.SharedPrefix(c)
	if err != nil {
		return fitted{}, err
	}
	var out fitted
	var last *Sample
	for _, turn := range all.Turns {
		if len(all.Prefix.IDs)+len(turn.IDs) > s.RowLen {
			continue
		}
		if last == nil || last.Len()+len(turn.IDs) > s.RowLen {
			last = &Sample{Images: all.Prefix.Images, Grids: all.Prefix.Grids, Clips: all.Prefix.Clips}
			last.extend(all.Prefix)
			out.samples = append(out.samples, last)
		}
		last.TurnStarts = append(last.TurnStarts, last.Len())
		last.extend(turn)
		out.turns++
	}
	return out, nil
}

func (s *Sample) extend(t chat.Tokens) {
	s.IDs = append(s.IDs, t.IDs...)
	s.LossMask = append(s.LossMask, t.LossMask...)
}
