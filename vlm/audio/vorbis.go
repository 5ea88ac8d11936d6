package audio

import (
	"bytes"
	"errors"
	"io"

	"github.com/jfreymuth/oggvorbis"
)

// decodeVorbis reads Vorbis in Ogg. Every page has a check sum.
func decodeVorbis(data []byte, s *sink) error {
	if !endsOgg(data) {
		return damaged("the Ogg file is cut short: its last page is not marked as the last")
	}
	if err := checkVorbisHeaders(data); err != nil {
		return err
	}
	// Without Seek, which the decoder would use to find the length.
	r, err := oggvorbis.NewReader(struct{ io.Reader }{bytes.NewReader(data)})
	if err != nil {
		return asFormat(err)
	}
	if err := s.start(r.SampleRate(), r.Channels()); err != nil {
		return err
	}
	interleaved := make([]float32, 4096*s.channels)
	for {
		n, err := r.Read(interleaved)
		if err := s.write(interleaved[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return asFormat(err)
		}
	}
}

// endsOgg reports whether the last page of an Ogg file has the flag of a stream's end, RFC 3533.
func endsOgg(data []byte) bool {
	const endOfStream = 4
	at := bytes.LastIndex(data, []byte("OggS"))
	return at >= 0 && at+6 <= len(data) && data[at+5]&endOfStream != 0
}
