package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"patchwork/internal/require"
)

// TestCompare: the statistics of made-up runs, in both forms.
func TestCompare(t *testing.T) {
	line := func(name string, samples ...float64) kernelLine {
		return kernelLine{Kernel: "k", Case: name, Samples: samples}
	}
	before := []kernelLine{
		line("same", 10, 11, 12, 10, 11, 12), line("twice", 10, 11, 12, 10, 11, 12), line("few", 10, 11, 12), line("gone", 1, 1, 1),
	}
	now := []kernelLine{
		line("same", 11, 10, 12, 11, 10, 12), line("twice", 5, 5.5, 6, 5, 5.5, 6), line("few", 5, 5.5, 6), line("new", 1, 1, 1),
	}
	var text, object bytes.Buffer
	for _, l := range before {
		l.Bench, l.Checked = "kernel", "shape"
		printLines(&text, withMedian(l))
		data, err := json.Marshal(l)
		require.NoError(t, err)
		object.Write(append(data, '\n'))
	}
	for form, data := range map[string][]byte{"text": text.Bytes(), "json": object.Bytes()} {
		old, err := readRun(data)
		require.NoError(t, err)
		changes, mean := old.compare(now)
		for _, c := range []struct {
			name        string
			ratio, p    float64
			significant bool
		}{
			{"same", 1, 1, false},
			{"twice", 0.5, 0.002, true}, // 2 of the 12!/(6!6!) = 924 orders
			{"few", 0.5, 0.1, false},    // 2 of the 20
		} {
			got := changes["Kernel/k/"+c.name]
			if got == nil || math.Abs(got.Ratio-c.ratio) > 1e-9 || math.Abs(got.P-c.p) > 0.003 || got.Significant != c.significant {
				t.Errorf("%s: %s: %+v, want ratio %g, p %g, significant %v", form, c.name, got, c.ratio, c.p, c.significant)
			}
		}
		if want := math.Cbrt(0.25); mean.Cases != 3 || math.Abs(mean.Ratio-want) > 1e-9 || mean.OnlyOld != 1 || mean.OnlyNew != 1 {
			t.Errorf("%s: %+v, want a mean of %g", form, mean, want)
		}
	}
}

func withMedian(l kernelLine) *kernelLine {
	l.US, l.Runs = l.Samples[len(l.Samples)/2], 1
	return &l
}
