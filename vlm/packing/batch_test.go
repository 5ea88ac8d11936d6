package packing

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/vlm/chat"
	"patchwork/vlm/tokenizer"
)

const patches = 4

func sampler(t *testing.T, rowLen int, turns Turns) Sampler {
	t.Helper()
	dir := filepath.Join("..", "pretrained", "presets", "shapes")
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	template, err := chat.ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	e, err := chat.NewEncoder(tok, template, patches)
	if err != nil {
		t.Fatal(err)
	}
	return Sampler{Encoder: e, RowLen: rowLen, Turns: turns}
}

func conversation(images int, questions ...string) chat.Conversation {
	c := chat.Conversation{Images: images}
	for _, q := range questions {
		c.Turns = append(c.Turns, chat.Turn{User: q, Assistant: "yes"})
	}
	return c
}

// A shared-prefix turn must have the same ids, positions, keys and targets as the same turn
// alone in a row.
func TestSharedPrefixTurnsEqualSingleTurnRows(t *testing.T) {
	questions := []string{"is it red?", "is a circle present?", "no?"}
	for _, images := range []int{1, 2} {
		for _, attention := range []Attention{Document, DocumentBidirectionalImage} {
			for _, loss := range []Loss{OnAll, OnAnswers} {
				t.Run(fmt.Sprint(images, attention, loss), func(t *testing.T) {
					m := Modes{attention, SharedPrefix, loss}
					s := sampler(t, 64, SharedPrefix)
					packed := build(t, s, m, conversation(0, "yes?"), conversation(images, questions...))
					for i, q := range questions {
						alone := build(t, s, m, conversation(images, q))
						sameView(t, packed, alone, q, i)
					}
				})
			}
		}
	}
}

// build packs conversations into one row, one after another.
func build(t *testing.T, s Sampler, m Modes, conversations ...chat.Conversation) *Batch {
	t.Helper()
	var all []*Sample
	for i, c := range conversations {
		samples, _, err := s.Samples(i, c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, samples...)
	}
	b, err := Build(Shape{1, s.RowLen, patches}, m, [][]*Sample{all})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// view describes the decoder's inputs for a token.
func view(b *Batch, t int) string {
	var keys strings.Builder
	for _, iv := range [][]int32{b.Intervals[4*t : 4*t+2], b.Intervals[4*t+2 : 4*t+4]} {
		for k := iv[0]; k < iv[1]; k++ {
			fmt.Fprintf(&keys, " %d@%d", b.IDs[k], b.Positions[k])
		}
	}
	return fmt.Sprintf("id %d, position %d, target %d, keys%s", b.IDs[t], b.Positions[t], b.Targets[t], keys.String())
}

// sameView compares a turn of packed's last sample with the batch of that turn alone,
// which is compared from the end of its prefix on.
func sameView(t *testing.T, packed, alone *Batch, question string, turn int) {
	t.Helper()
	from := slices.IndexFunc(alone.ImageSlots, func(s int32) bool { return s >= 0 }) + patches*len(alone.Images)
	count := 0
	for alone.Segments[count] >= 0 {
		count++
	}
	last := slices.Index(packed.Segments, -1) - 1
	var starts []int
	for i := range last + 1 {
		if packed.Intervals[4*i+1] > packed.Intervals[4*i] && packed.Positions[i] == int32(from) {
			starts = append(starts, i)
		}
	}
	for k := range count - from {
		if got, want := view(packed, starts[turn]+k), view(alone, from+k); got != want {
			t.Fatalf("%q, token %d of the turn\n got %s\nwant %s", question, k, got, want)
		}
	}
}

// A conversation of one turn is laid out alike with both turn modes.
func TestSharedPrefixOfOneTurnEqualsConversation(t *testing.T) {
	c := conversation(1, "is it red?")
	for _, attention := range []Attention{Document, DocumentBidirectionalImage} {
		whole := build(t, sampler(t, 32, InConversation), Modes{attention, InConversation, OnAnswers}, c)
		shared := build(t, sampler(t, 32, SharedPrefix), Modes{attention, SharedPrefix, OnAnswers}, c)
		for i := range whole.IDs {
			if got, want := view(shared, i), view(whole, i); got != want {
				t.Errorf("%s, token %d\n got %s\nwant %s", attention, i, got, want)
			}
		}
	}
}

func TestTargets(t *testing.T) {
	tests := []struct {
		m    Modes
		want string
	}{
		{Modes{Document, InConversation, OnAll}, "red?<|assistant|>yes<|end|> no?<|assistant|>yes<|end|>"},
		{Modes{Document, InConversation, OnAnswers}, "yes<|end|> yes<|end|>"},
		{Modes{Causal, InConversation, OnAll}, "red?<|assistant|>yes<|end|> <|user|>no?<|assistant|>yes<|end|>"},
		{Modes{Causal, InConversation, OnAnswers}, "yes<|end|> yes<|end|>"},
		{Modes{Document, SharedPrefix, OnAll}, "?<|assistant|>yes<|end|> no?<|assistant|>yes<|end|>"},
		{Modes{Document, SharedPrefix, OnAnswers}, "yes<|end|> yes<|end|>"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.m), func(t *testing.T) {
			s := sampler(t, 32, test.m.Turns)
			b := build(t, s, test.m, conversation(1, "red?"), conversation(0, "no?"))
			tok, err := tokenizer.Load(filepath.Join("..", "pretrained", "presets", "shapes", "tokenizer.json"))
			if err != nil {
				t.Fatal(err)
			}
			var ids []int32
			for _, id := range b.Targets {
				if id != Ignore {
					ids = append(ids, id)
				}
			}
			want := strings.ReplaceAll(test.want, " ", "")
			if got := tok.Decode(ids, false); got != want || len(ids) != b.TargetCount {
				t.Errorf("%d targets %q, want %q", b.TargetCount, got, want)
			}
		})
	}
}

func TestImagesAndPadding(t *testing.T) {
	s := sampler(t, 40, InConversation)
	m := Modes{Document, InConversation, OnAll}
	one, _, _ := s.Samples(7, conversation(1, "red?"))
	two, _, _ := s.Samples(9, conversation(2, "blue?"))
	b, err := Build(Shape{3, 40, patches}, m, [][]*Sample{one, append(two, one...)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []ImageRef{{7, 0}, {9, 0}, {9, 1}, {7, 0}}; !slices.Equal(b.Images, want) {
		t.Errorf("images %v, want %v", b.Images, want)
	}
	next := int32(0)
	for i, slot := range b.ImageSlots {
		if slot >= 0 {
			if slot != next || b.IDs[i] != s.Encoder.ImageID() {
				t.Errorf("token %d (id %d) has slot %d, want %d", i, b.IDs[i], slot, next)
			}
			next++
		}
		if b.Segments[i] < 0 && (slot >= 0 || b.Targets[i] != Ignore || slices.Max(b.Intervals[4*i:4*i+4]) > 0) {
			t.Errorf("padding at %d is not empty", i)
		}
	}
	if int(next) != len(b.Images)*patches {
		t.Errorf("%d slots for %d images", next, len(b.Images))
	}
}

func TestSharedPrefixKeepsAllTurnsThatFit(t *testing.T) {
	s := sampler(t, 24, SharedPrefix)
	long := strings.Repeat("red ", 30)
	c := conversation(1, "is it red?", "is it blue?", "is it green?", long, "is it teal?")
	samples, counts, err := s.Samples(3, c)
	if err != nil {
		t.Fatal(err)
	}
	turns := 0
	for _, one := range samples {
		if one.Len() > s.RowLen || len(one.Images) != 1 || one.Row != 3 {
			t.Errorf("a sample of %d tokens, %d images, row %d", one.Len(), len(one.Images), one.Row)
		}
		turns += len(one.TurnStarts)
	}
	if want := (Counts{Samples: len(samples), Cut: 1, TurnsLost: 1}); turns != 4 || len(samples) < 2 || counts != want {
		t.Errorf("%d turns in %d samples, %+v; want 4 and %+v", turns, len(samples), counts, want)
	}
}

func TestLongConversationsAreCutBetweenTurns(t *testing.T) {
	c := conversation(1, "is it red?", "is it blue?", "is it green?")
	for rowLen := range 40 {
		s := sampler(t, rowLen, InConversation)
		samples, counts, err := s.Samples(0, c)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for n := 1; n <= len(c.Turns); n++ {
			tokens, err := s.Encoder.Conversation(conversation(1, []string{"is it red?", "is it blue?", "is it green?"}[:n]...))
			if err != nil {
				t.Fatal(err)
			}
			if len(tokens.IDs) <= rowLen {
				want = n
			}
		}
		if got := len(c.Turns) - counts.TurnsLost; got != want || len(samples) != min(1, want) || (counts.Skipped == 1) != (want == 0) {
			t.Errorf("rows of %d: %d turns kept in %d samples, %+v; want %d", rowLen, got, len(samples), counts, want)
		}
	}
}

func TestModesCheck(t *testing.T) {
	for _, m := range []Modes{
		{"sliding", InConversation, OnAll}, {Document, "both", OnAll}, {Document, SharedPrefix, "none"}, {Causal, SharedPrefix, OnAll},
	} {
		var mode *ModeError
		if err := m.Check(); !errors.As(err, &mode) {
			t.Errorf("%v: error %v", m, err)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	s := &Sample{IDs: []int32{1, 2, 3}, LossMask: make([]bool, 3)}
	m := Modes{Document, InConversation, OnAll}
	for name, err := range map[string]error{
		"too many rows":                   buildError(Shape{1, 8, 2}, m, [][]*Sample{{s}, {s}}),
		"a row that is too long":          buildError(Shape{1, 5, 2}, m, [][]*Sample{{s, s}}),
		"an image beyond the sample":      buildError(Shape{1, 8, 2}, m, [][]*Sample{{{IDs: []int32{1, 2}, Images: []int{1}}}}),
		"shared-prefix turns with causal": buildError(Shape{1, 8, 2}, Modes{Causal, InConversation, OnAll}, [][]*Sample{{{IDs: []int32{1, 2}, TurnStarts: []int{1}}}}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func buildError(shape Shape, m Modes, rows [][]*Sample) error {
	_, err := Build(shape, m, rows)
	return err
}

func TestEmbeddingOrder(t *testing.T) {
	b := &Batch{
		IDs:        []int32{5, 3, 9, 5, 3, 0, 0},
		Segments:   []int32{0, 0, 0, 1, 1, 1, -1},
		ImageSlots: []int32{-1, -1, 0, -1, -1, -1, -1},
	}
	e := b.EmbeddingOrder()
	sameInts(t, "order", e.Order, []int32{5, 1, 4, 0, 3})
	sameInts(t, "starts", e.SegmentStart, []int32{0, 1, 3, 5})
	sameInts(t, "ids", e.SegmentID, []int32{0, 3, 5})
}

// Modes are read by their current names and those of earlier versions, and written by the
// current ones.
func TestFormerNames(t *testing.T) {
	var m Modes
	if err := json.Unmarshal([]byte(`{"Attention":"seed","Turns":"branches","Loss":"all"}`), &m); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(m); err != nil || string(got) != `{"Attention":"causal","Turns":"shared_prefix","Loss":"all"}` {
		t.Errorf("%s, %v", got, err)
	}
	for _, mode := range []string{"document", "document_bidirectional_image", "causal", "conversation", "shared_prefix", "other"} {
		if got := CurrentName(mode); got != mode {
			t.Errorf("%s is now %s", mode, got)
		}
	}
}
