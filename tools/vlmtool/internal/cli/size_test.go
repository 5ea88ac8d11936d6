package cli

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "20GB": 20e9, "20gb": 20e9, "1.5 TB": 15e11, "64MiB": 64 << 20, "1000B": 1000, "2KiB": 2048, " 3KB ": 3000,
	} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
		var again size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q: %q is %d, %v", text, s.String(), again, err)
		}
	}
	for _, text := range []string{"", "GB", "-1", "-1GB", "NaN", "Inf", "1e30", "20 apples", "0x10", "1GBGB"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q: %d, want an error", text, s)
		}
	}
	for n, want := range map[size]string{0: "0", 20e9: "20GB", 1e12: "1TB", 1500e6: "1500MB", 7: "7", 1000: "1KB"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %q, want %q", int64(n), got, want)
		}
	}
}
