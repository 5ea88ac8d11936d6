// Package audio reads sound files: WAV, FLAC, MP3 and Ogg Vorbis become mono samples at the
// rate of a model.
package audio

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// Limits of a file.
const (
	MaxSeconds  = 600     // of sound
	MaxChannels = 32      // mixed to one
	MinRate     = 1_000   // samples a second
	MaxRate     = 384_000 // of studios
	maxValues   = 1 << 28 // samples of all channels: ten minutes of stereo at 192 kHz
	maxSample   = 1 << 31 // absolute: some programs write integers as floats
)

// FormatError reports sound that cannot be read: damaged, cut short, or beyond a limit.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return e.Reason }

// UnsupportedError reports a format that is not read.
type UnsupportedError struct{ Format string }

func (e *UnsupportedError) Error() string {
	return e.Format + " is not read: convert it to WAV, FLAC, MP3 or Ogg Vorbis"
}

func damaged(format string, args ...any) error { return &FormatError{fmt.Sprintf(format, args...)} }

// Info describes a sound as it is in its file.
type Info struct {
	Format   string // "WAV", "FLAC", "MP3", "Ogg Vorbis"
	Rate     int    // samples a second
	Channels int
	Seconds  float64
}

// Decode returns the sound of a file as mono samples at a rate, nominally in [-1,1]: the mean of
// the channels, resampled. They are not clipped. The error is a *FormatError or an
// *UnsupportedError.
func Decode(data []byte, rate int) (samples []float32, info Info, err error) {
	defer func() {
		if r := recover(); r != nil { // decoders of other projects index before they check
			samples, err = nil, damaged("the file is damaged")
		}
	}()
	format, decode, err := sniff(data)
	if err != nil {
		return nil, Info{}, err
	}
	s := &sink{to: rate}
	if err := decode(data, s); err != nil {
		return nil, Info{}, err
	}
	if s.frames == 0 {
		return nil, Info{}, damaged("there are no samples in it")
	}
	info = Info{Format: format, Rate: s.rate, Channels: s.channels, Seconds: float64(s.frames) / float64(s.rate)}
	return s.resampler.finish(), info, nil
}

type decoder func(data []byte, s *sink) error

// sniff finds the format by the file's first bytes.
func sniff(data []byte) (format string, decode decoder, err error) {
	at := func(offset int, magic string) bool {
		return len(data) >= offset+len(magic) && string(data[offset:offset+len(magic)]) == magic
	}
	switch {
	case len(data) == 0:
		return "", nil, damaged("the file is empty")
	case (at(0, "RIFF") || at(0, "RF64") || at(0, "BW64")) && at(8, "WAVE"):
		return "WAV", decodeWAV, nil
	case at(0, "RIFX"):
		return "", nil, &UnsupportedError{"big-endian WAV"}
	case at(0, "fLaC"):
		return "FLAC", decodeFLAC, nil
	case at(0, "OggS") && bytes.Contains(data[:min(len(data), 100)], []byte("\x01vorbis")):
		return "Ogg Vorbis", decodeVorbis, nil
	case at(0, "OggS") && bytes.Contains(data[:min(len(data), 100)], []byte("OpusHead")):
		return "", nil, &UnsupportedError{"Ogg Opus"}
	case at(0, "OggS"):
		return "", nil, &UnsupportedError{"Ogg without Vorbis"}
	case at(4, "ftyp"):
		return "", nil, &UnsupportedError{"MP4 (AAC)"}
	case at(0, "FORM") && (at(8, "AIFF") || at(8, "AIFC")):
		return "", nil, &UnsupportedError{"AIFF"}
	case at(0, "\x1a\x45\xdf\xa3"):
		return "", nil, &UnsupportedError{"Matroska or WebM"}
	case at(0, "#!AMR"):
		return "", nil, &UnsupportedError{"AMR"}
	case at(0, ".snd"):
		return "", nil, &UnsupportedError{"AU"}
	case isMP3(data):
		return "MP3", decodeMP3, nil
	}
	return "", nil, damaged("not a sound file that is read: WAV, FLAC, MP3 or Ogg Vorbis")
}

var errTooLong = damaged("more than %d minutes of sound: cut it into shorter files", MaxSeconds/60)

// sink collects decoded samples: it mixes channels and resamples them.
type sink struct {
	to        int // samples a second of the result
	rate      int
	channels  int
	frames    int // samples of each channel
	resampler *resampler
	mono      []float32
}

// start sets the properties of the sound; it is called once, before the samples.
func (s *sink) start(rate, channels int) error {
	switch {
	case rate < MinRate || rate > MaxRate:
		return damaged("a rate of %d samples a second, want %d to %d", rate, MinRate, MaxRate)
	case channels < 1 || channels > MaxChannels:
		return damaged("%d channels, want 1 to %d", channels, MaxChannels)
	}
	s.rate, s.channels, s.resampler = rate, channels, newResampler(rate, s.to)
	return nil
}

// write adds samples of all channels, interleaved: a whole number of frames.
func (s *sink) write(interleaved []float32) error {
	n := len(interleaved) / s.channels
	if s.frames += n; s.frames > MaxSeconds*s.rate || s.frames > maxValues/s.channels {
		return errTooLong
	}
	s.mono = s.mono[:0]
	for i := range n {
		var sum float32
		for _, v := range interleaved[i*s.channels:][:s.channels] {
			sum += v
		}
		mean := sum / float32(s.channels)
		if math.IsNaN(float64(mean)) || math.Abs(float64(mean)) > maxSample {
			return damaged("a sample is %g, which is no sound", mean)
		}
		s.mono = append(s.mono, mean)
	}
	s.resampler.write(s.mono)
	return nil
}

// asFormat returns an error of another project's decoder as a *FormatError. Its text is left out: it
// names that project's functions.
func asFormat(err error) error {
	var format *FormatError
	if err == nil || errors.As(err, &format) {
		return err
	}
	return damaged("the file is damaged or cut short")
}
