package audio

import (
	"bytes"
	"errors"
	"io"

	"github.com/mewkiz/flac"
)

// decodeFLAC reads FLAC files. Every frame has a check sum.
func decodeFLAC(data []byte, s *sink) error {
	stream, err := flac.New(bytes.NewReader(data))
	if err != nil {
		return asFormat(err)
	}
	info := stream.Info
	if err := s.start(int(info.SampleRate), int(info.NChannels)); err != nil {
		return err
	}
	if info.NSamples > uint64(min(MaxSeconds*s.rate, maxValues/s.channels)) {
		return errTooLong
	}
	scale := 1 / float32(uint64(1)<<(max(1, info.BitsPerSample)-1))
	var interleaved []float32
	for {
		frame, err := stream.ParseNext()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return asFormat(err)
		}
		if len(frame.Subframes) != s.channels {
			return damaged("a FLAC frame has %d channels, the file %d", len(frame.Subframes), s.channels)
		}
		n := len(frame.Subframes[0].Samples)
		interleaved = interleaved[:0]
		for i := range n {
			for _, channel := range frame.Subframes {
				interleaved = append(interleaved, float32(channel.Samples[i])*scale)
			}
		}
		if err := s.write(interleaved); err != nil {
			return err
		}
	}
	if info.NSamples > 0 && uint64(s.frames) != info.NSamples {
		return damaged("the FLAC file is cut short: %d samples, its header says %d", s.frames, info.NSamples)
	}
	return nil
}
