package vlm

import "fmt"

// AudioConfig describes how sound is read: as frames of raw samples, each of which one matrix makes
// a vector, as in Gemma 4.
type AudioConfig struct {
	SampleRate int `json:"sample_rate"` // samples a second
	FrameSize  int `json:"frame_size"`  // samples of a frame, which becomes one token
	// HopSize is the number of samples from the start of a frame to that of the next; 0 = FrameSize.
	HopSize    int     `json:"hop_size,omitempty"`
	HiddenSize int     `json:"hidden_size"` // D
	RMSNormEps float64 `json:"rms_norm_eps"`
}

// None reports whether the model hears nothing.
func (a AudioConfig) None() bool { return a == AudioConfig{} }

// Hop is the number of samples from a frame to the next.
func (a AudioConfig) Hop() int {
	if a.HopSize > 0 {
		return a.HopSize
	}
	return a.FrameSize
}

// Tokens is the number of frames, and of tokens, of a clip of samples at the model's rate: as many
// as it takes to cover them all, and at least one.
func (a AudioConfig) Tokens(samples int) int {
	if samples <= a.FrameSize {
		return 1
	}
	return 1 + (samples-a.FrameSize+a.Hop()-1)/a.Hop()
}

// Frames returns the frames of a clip of samples at the model's rate, with zeros after the last
// sample: [Tokens, FrameSize].
func (a AudioConfig) Frames(samples []float32) []float32 {
	n := a.Tokens(len(samples))
	frames := make([]float32, n*a.FrameSize)
	for i := range n {
		copy(frames[i*a.FrameSize:][:a.FrameSize], samples[min(i*a.Hop(), len(samples)):])
	}
	return frames
}

// Limits of AudioConfig: the rates of sound files, and an input of the size of a large picture's
// patch.
const (
	minSampleRate = 1_000
	maxSampleRate = 384_000
	maxFrameSize  = 1 << 16
)

// Check returns an error if the sizes are missing or out of range.
func (a AudioConfig) Check() error {
	switch {
	case a.SampleRate < minSampleRate || a.SampleRate > maxSampleRate:
		return fmt.Errorf("audio_config: sample_rate is %d, want %d to %d", a.SampleRate, minSampleRate, maxSampleRate)
	case a.FrameSize < 1 || a.FrameSize > maxFrameSize:
		return fmt.Errorf("audio_config: frame_size is %d, want 1 to %d", a.FrameSize, maxFrameSize)
	case a.HopSize < 0 || a.HopSize > a.FrameSize:
		return fmt.Errorf("audio_config: hop_size is %d, want at most the frame_size of %d", a.HopSize, a.FrameSize)
	case a.HiddenSize < 1:
		return fmt.Errorf("audio_config: hidden_size is %d", a.HiddenSize)
	case a.RMSNormEps <= 0:
		return fmt.Errorf("audio_config: rms_norm_eps must be above 0")
	}
	return nil
}
