package audio

import "math"

// The resampler is a polyphase filter: a windowed sinc, as in Smith, "Digital Audio Resampling Home
// Page" (2002), with Kaiser's window. For a cut at the lower of the two Nyquist frequencies, the
// transition band is transition of it wide, below it, and what is above is attenuated by some 80 dB.
const (
	zeroCrossings = 32   // of the sinc on each side of the filter's middle
	rolloff       = 0.92 // middle of the transition band, as a fraction of the lower Nyquist frequency
	kaiserBeta    = 8    // 80 dB
	// maxPhases limits the table of the filters. Where the rates have more phases, filters between two
	// of the table are interpolated.
	maxPhases = 1024
)

// resampler converts between two rates, chunk by chunk. Sample k of the result is the sound at the
// time k/to; there are ⌈n·to/from⌉ of them.
type resampler struct {
	from, to int64 // reduced
	phases   int64
	filters  [][]float32 // by phase, and one more: weights of the samples around a place
	half     int64       // samples on each side of a place

	pending []float32 // samples that are still needed, from number first on
	first   int64
	written int64 // samples so far
	out     []float32
}

func newResampler(from, to int) *resampler {
	d := gcd(int64(from), int64(to))
	r := &resampler{from: int64(from) / d, to: int64(to) / d}
	if r.from == r.to {
		return r
	}
	r.phases = min(r.to, maxPhases)
	scale := min(1, float64(to)/float64(from)) * rolloff // the cut, as a fraction of from's Nyquist frequency
	width := zeroCrossings / scale
	r.half = int64(math.Ceil(width))
	for phase := range r.phases + 1 {
		r.filters = append(r.filters, lowpass(float64(phase)/float64(r.phases), scale, width, int(r.half)))
	}
	return r
}

// lowpass returns the weights of the 2·half samples around a place that is offset samples after one
// of them, the last of the first half. They sum to 1.
func lowpass(offset, scale, width float64, half int) []float32 {
	weights := make([]float64, 2*half)
	sum := 0.0
	for i := range weights {
		x := float64(i-half+1) - offset
		weights[i] = sinc(scale*x) * kaiser(x/width)
		sum += weights[i]
	}
	out := make([]float32, len(weights))
	for i, w := range weights {
		out[i] = float32(w / sum)
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is Kaiser's window on [-1,1].
func kaiser(x float64) float64 {
	if x <= -1 || x >= 1 {
		return 0
	}
	return bessel0(kaiserBeta*math.Sqrt(1-x*x)) / bessel0(kaiserBeta)
}

// bessel0 is the modified Bessel function of the first kind and order 0, by its power series.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / 2 / k * x / 2 / k
		sum += term
	}
	return sum
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// write adds samples.
func (r *resampler) write(samples []float32) {
	r.written += int64(len(samples))
	if r.from == r.to {
		r.out = append(r.out, samples...)
		return
	}
	r.pending = append(r.pending, samples...)
	r.run(r.written - r.half)
}

// finish returns the result.
func (r *resampler) finish() []float32 {
	if r.from != r.to {
		r.run(r.written)
	}
	return r.out
}

// run computes the samples of the result whose place is before sample end, and forgets the samples
// that no later one needs.
func (r *resampler) run(end int64) {
	for {
		k := int64(len(r.out))
		at, rest := k*r.from/r.to, k*r.from%r.to
		if at >= end {
			break
		}
		phase, between := rest*r.phases/r.to, rest*r.phases%r.to
		v := r.sample(at, r.filters[phase])
		if between > 0 {
			t := float32(between) / float32(r.to)
			v += t * (r.sample(at, r.filters[phase+1]) - v)
		}
		r.out = append(r.out, v)
	}
	if drop := min(int64(len(r.out))*r.from/r.to-r.half-r.first, int64(len(r.pending))); drop > 0 {
		r.pending = append(r.pending[:0], r.pending[drop:]...)
		r.first += drop
	}
}

// sample returns the weighted sum of the samples around sample at. Before the first and after the
// last there are zeros.
func (r *resampler) sample(at int64, weights []float32) float32 {
	lo := at - r.half + 1 - r.first // index in pending of the first weight
	skip := max(0, -lo)
	n := min(int64(len(weights)), int64(len(r.pending))-lo)
	var sum float32
	for i := skip; i < n; i++ {
		sum += weights[i] * r.pending[lo+i]
	}
	return sum
}
