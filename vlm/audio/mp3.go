package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	mp3 "github.com/hajimehoshi/go-mp3"
)

// isMP3 reports whether data begins like an MP3 file: with an ID3v2 tag, or the header of a frame
// of MPEG's layer III.
func isMP3(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	return string(data[:3]) == "ID3" || data[0] == 0xFF && data[1]&0xE6 == 0xE2
}

// mp3Delay is the number of samples by which the number of a file's frames may be off: encoders
// count with and without the frame that has the number.
const mp3Delay = 2 * 1152

// decodeMP3 reads MPEG-1 and MPEG-2 layer III. The format has no length: a file that is cut short
// is noticed only if its encoder wrote the number of its frames.
func decodeMP3(data []byte, s *sink) error {
	// Without Seek, which the decoder would use to read the file twice.
	d, err := mp3.NewDecoder(struct{ io.Reader }{bytes.NewReader(data)})
	if errors.Is(err, io.EOF) {
		return damaged("the MP3 file is cut short: it has no whole frame")
	}
	if err != nil {
		return asFormat(err)
	}
	const channels = 2 // also of mono files, twice
	if err := s.start(d.SampleRate(), channels); err != nil {
		return err
	}
	raw := make([]byte, 1152*2*channels)
	interleaved := make([]float32, 1152*channels)
	for {
		n, err := io.ReadFull(d, raw)
		for i := range n / 2 {
			interleaved[i] = float32(int16(binary.LittleEndian.Uint16(raw[2*i:]))) / (1 << 15)
		}
		if err := s.write(interleaved[:n/4*channels]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return asFormat(err)
		}
	}
	if want := mp3Samples(data); s.frames < want-mp3Delay {
		return damaged("the MP3 file is cut short: %d samples, its header says %d", s.frames, want)
	}
	return nil
}

// mp3Samples returns the number of samples by the Xing or Info header in the first frame, 0 without
// one. Source: the LAME project's description of its tag.
func mp3Samples(data []byte) int {
	if len(data) > 10 && string(data[:3]) == "ID3" { // its size has 7 bits in each byte
		size := int(data[6])<<21 | int(data[7])<<14 | int(data[8])<<7 | int(data[9])
		data = data[min(10+size, len(data)):]
	}
	if len(data) < 4 || data[0] != 0xFF {
		return 0
	}
	perFrame, side := 1152, 32 // MPEG-1, stereo
	mono := data[3]>>6 == 3
	switch mpeg1 := data[1]>>3&3 == 3; {
	case mpeg1 && mono:
		side = 17
	case !mpeg1 && mono:
		perFrame, side = 576, 9
	case !mpeg1:
		perFrame, side = 576, 17
	}
	at := 4 + side
	if len(data) < at+12 || string(data[at:at+4]) != "Xing" && string(data[at:at+4]) != "Info" {
		return 0
	}
	if flags := binary.BigEndian.Uint32(data[at+4:]); flags&1 == 0 {
		return 0
	}
	return perFrame * int(binary.BigEndian.Uint32(data[at+8:]))
}
