package packing

import (
	"slices"
	"sort"

	"patchwork/vlm/chat"
)

// Sample is tokens that lie together in one row: a conversation, or a prefix with
// branches behind it.
type Sample struct {
	Row        int // of the data set
	IDs        []int32
	LossMask   []bool // by token: part of an answer
	Images     []int  // where each picture's run of image tokens starts, in order
	TurnStarts []int  // where each branch starts; the first ends the prefix. nil: none
}

// Len returns the number of tokens.
func (s *Sample) Len() int { return len(s.IDs) }

// Counts are what became of conversations.
type Counts struct {
	Samples   int // made
	Cut       int // conversations that lost turns at their end
	Skipped   int // conversations of which nothing fits a row
	TurnsLost int // by cutting and skipping
}

// Add adds another count.
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

// Samples encodes row number row of the data set. A conversation too long is cut
// after its last whole turn that fits. Branches that do not fit one row go on in
// another sample, behind the same pictures; only a branch too long by itself is lost.
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

// fitted are samples and the number of turns they hold.
type fitted struct {
	samples []*Sample
	turns   int
}

// mayFit is how many of the first turns could fit a row, judged by their bytes alone.
func (s Sampler) maxTurns(c chat.Conversation) int {
	tokens := s.Encoder.ImageTokens(c.Images)
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
	// A binary search: a conversation may have thousands of turns. What it ends at
	// was tried and fits, even where a template makes lengths not quite monotonic.
	tooLong := func(i int) bool {
		tokens, err := s.Encoder.Conversation(chat.Conversation{System: c.System, Turns: c.Turns[:i+1], Images: c.Images})
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
	return fitted{[]*Sample{{IDs: fits.IDs, LossMask: fits.LossMask, Images: fits.Images}}, turns}, nil
}

func (s Sampler) sharedPrefix(c chat.Conversation) (fitted, error) {
	shared := s.Encoder.ImageTokens(c.Images)
	tooLong := func(t chat.Turn) bool { return shared+s.Encoder.MinTokens(t) > s.RowLen }
	c.Turns = slices.DeleteFunc(slices.Clone(c.Turns), tooLong)
	all, err := s.Encoder.SharedPrefix(c)
	if err != nil {
		return fitted{}, err
	}
	var out fitted
	var last *Sample
	for _, branch := range all.Turns {
		if len(all.Prefix.IDs)+len(branch.IDs) > s.RowLen {
			continue
		}
		if last == nil || last.Len()+len(branch.IDs) > s.RowLen {
			last = &Sample{Images: all.Prefix.Images}
			last.extend(all.Prefix)
			out.samples = append(out.samples, last)
		}
		last.TurnStarts = append(last.TurnStarts, last.Len())
		last.extend(branch)
		out.turns++
	}
	return out, nil
}

func (s *Sample) extend(t chat.Tokens) {
	s.IDs = append(s.IDs, t.IDs...)
	s.LossMask = append(s.LossMask, t.LossMask...)
}
