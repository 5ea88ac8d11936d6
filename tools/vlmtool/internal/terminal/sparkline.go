package terminal

import (
	"math"
	"strings"
)

// Sparkline draws values as blocks of eight heights on a logarithmic scale from their
// minimum to their maximum. A value without a logarithm is a space.
func Sparkline(values []float64) string {
	low, high := math.Inf(1), math.Inf(-1)
	drawable := func(v float64) bool { return v > 0 && !math.IsInf(v, 1) }
	for _, v := range values {
		if drawable(v) {
			low, high = min(low, math.Log(v)), max(high, math.Log(v))
		}
	}
	blocks := []rune("▁▂▃▄▅▆▇█")
	var s strings.Builder
	for _, v := range values {
		switch {
		case !drawable(v):
			s.WriteRune(' ')
		case high == low:
			s.WriteRune(blocks[0])
		default:
			s.WriteRune(blocks[int(math.Round((math.Log(v)-low)/(high-low)*float64(len(blocks)-1)))])
		}
	}
	return s.String()
}
