package packing_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"patchwork/vlm/packing"
)

const page = "../../docs/how-it-works.md"

// diagrams draws attention masks: a line per query, a column per key, ■ where the query
// attends to the key. The image has four patches, 0 to 3; q is a question's token and a an
// answer's.
func diagrams(t *testing.T) string {
	t.Helper()
	one := &packing.Sample{IDs: []int32{1, 9, 9, 9, 9, 2, 3}, LossMask: make([]bool, 7), Images: []int{1}}
	two := &packing.Sample{IDs: []int32{1, 9, 9, 9, 9, 2, 3, 4, 5}, LossMask: make([]bool, 9), Images: []int{1}, TurnStarts: []int{5, 7}}
	var out strings.Builder
	for _, c := range []struct {
		title string
		names string
		modes packing.Modes
		rows  []*packing.Sample
	}{
		{"document", "u 0 1 2 3 q a q a", packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll},
			[]*packing.Sample{one, {IDs: []int32{4, 5}, LossMask: make([]bool, 2)}}},
		{"document, shared_prefix", "u 0 1 2 3 q a q a", packing.Modes{Attention: packing.Document, Turns: packing.SharedPrefix, Loss: packing.OnAll},
			[]*packing.Sample{two}},
		{"document_bidirectional_image, shared_prefix", "u 0 1 2 3 q a q a", packing.Modes{Attention: packing.DocumentBidirectionalImage, Turns: packing.SharedPrefix, Loss: packing.OnAll},
			[]*packing.Sample{two}},
	} {
		b, err := packing.Build(packing.Shape{Rows: 1, T: 9, Patches: 4}, c.modes, [][]*packing.Sample{c.rows})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n\n   %s\n", c.title, c.names)
		for query, name := range strings.Fields(c.names) {
			seen := b.Intervals[4*query:][:4]
			fmt.Fprintf(&out, "%s ", name)
			for key := range int32(b.T) {
				sign := "·"
				if seen[0] <= key && key < seen[1] || seen[2] <= key && key < seen[3] {
					sign = "■"
				}
				out.WriteString(" " + sign)
			}
			fmt.Fprintf(&out, "   [%d,%d) [%d,%d)\n", seen[0], seen[1], seen[2], seen[3])
		}
		out.WriteString("\n")
	}
	return strings.TrimSpace(out.String())
}

// The diagrams of docs/how-it-works.md are those of Build.
func TestPageShowsIntervals(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if want := diagrams(t); !strings.Contains(string(text), "```text\n"+want+"\n```") {
		t.Errorf("%s shows other diagrams than these:\n%s", page, want)
	}
}
