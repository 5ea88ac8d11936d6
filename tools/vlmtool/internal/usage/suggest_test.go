package usage

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"train", "infer", "inspect", "steps", "seq-len", "max-new-tokens", "smollm2-135m"}
	for _, c := range []struct{ word, want string }{
		{"trian", "train"}, {"trin", "train"}, {"Train", "train"}, {"setps", "steps"}, {"step", "steps"}, {"seqlen", "seq-len"}, {"max-tokens", ""},
		{"max-new-token", "max-new-tokens"}, {"smollm", "smollm2-135m"}, {"smollm2-135", "smollm2-135m"}, {"gpt", ""}, {"x", ""}, {"", ""}, {"écouter", ""},
	} {
		if got := Nearest(c.word, known); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}
