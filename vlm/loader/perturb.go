package loader

import (
	"math"
	"math/rand/v2"
)

// Ranges of the random changes of a clip.
const (
	maxShift  = 0.04       // seconds by which it begins earlier or later
	maxSpeed  = 0.12       // fraction by which it is faster or slower, and higher or lower
	noiseLow  = 0.0003     // amplitude of white noise, as a fraction of the clip's largest sample;
	noiseHigh = 0.03       // drawn evenly in decibels
	soundSeed = 0x736f756e // separates these random numbers from others: "soun"
)

// perturb changes the clips of a row for an epoch: each begins a little later or earlier, is played a
// little faster or slower, and gets noise. Their lengths, by which they were packed, remain. It
// depends on the seed, the epoch and the row's number alone.
func (l *Loader) perturb(epoch, number int, clips [][]float32) {
	random := rand.New(rand.NewPCG(l.Shuffle.Seed^soundSeed, uint64(epoch)<<32^uint64(number)))
	for i, samples := range clips {
		clips[i] = perturbed(random, samples, float64(l.Audio.SampleRate))
	}
}

// perturbed returns a clip changed; rate is in samples a second.
func perturbed(random *rand.Rand, samples []float32, rate float64) []float32 {
	speed := 1 + maxSpeed*(2*random.Float64()-1)
	shift := maxShift * rate * (2*random.Float64() - 1)
	loudest := 0.0
	for _, v := range samples {
		loudest = max(loudest, math.Abs(float64(v)))
	}
	noise := loudest * noiseLow * math.Pow(noiseHigh/noiseLow, random.Float64())
	out := make([]float32, len(samples))
	for i := range out {
		out[i] = between(samples, speed*(float64(i)-shift)) + float32(noise*random.NormFloat64())
	}
	return out
}

// between returns the value of samples at a place that may be between two of them, by a cubic
// (Catmull and Rom), or 0 outside.
func between(samples []float32, at float64) float32 {
	whole := math.Floor(at)
	k, t := int(whole), float32(at-whole)
	v := func(i int) float32 {
		if i < 0 || i >= len(samples) {
			return 0
		}
		return samples[i]
	}
	if k < -2 || k > len(samples) {
		return 0
	}
	a, b, c, d := v(k-1), v(k), v(k+1), v(k+2)
	return b + t/2*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
}
