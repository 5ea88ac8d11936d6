package audio

import (
	"encoding/binary"
	"math"
)

// Format tags of a WAV file.
const (
	wavPCM        = 1
	wavFloat      = 3
	wavExtensible = 0xFFFE
)

// wavFormat is the fmt chunk.
type wavFormat struct {
	tag, channels, bits int
	rate                int
}

// decodeWAV reads RIFF WAVE: integers of 8 to 32 bits and floats of 32 and 64, extensible or not.
// Source: Microsoft's Multimedia Programming Interface and Data Specifications 1.0, and
// WAVEFORMATEXTENSIBLE.
func decodeWAV(data []byte, s *sink) error {
	streamed := string(data[:4]) != "RIFF" // RF64 has sizes of 64 bits elsewhere
	var format *wavFormat
	for rest := data[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if id == "data" {
			if format == nil {
				return damaged("the WAV file has no fmt chunk before its samples")
			}
			// Programs that write to a pipe leave 0, or sizes near 2³¹ (espeak-ng) or 2³² (ffmpeg): then
			// all is samples.
			if unknown := size >= 0x7FFFF000 || size == 0 || streamed; unknown {
				size = uint64(len(rest))
			}
			if size > uint64(len(rest)) {
				return damaged("the WAV file is cut short: %d bytes of samples, its header says %d", len(rest), size)
			}
			return format.decode(rest[:size], s)
		}
		if size > uint64(len(rest)) {
			return damaged("the WAV file is cut short in its chunk %q", id)
		}
		if id == "fmt " {
			var err error
			if format, err = parseWAVFormat(rest[:size]); err != nil {
				return err
			}
		}
		rest = rest[min(size+size%2, uint64(len(rest))):]
	}
	return damaged("the WAV file has no samples: it is cut short")
}

func parseWAVFormat(chunk []byte) (*wavFormat, error) {
	if len(chunk) < 16 {
		return nil, damaged("the WAV file's fmt chunk has %d bytes, want at least 16", len(chunk))
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(chunk[at:])) }
	f := &wavFormat{tag: u16(0), channels: u16(2), rate: int(binary.LittleEndian.Uint32(chunk[4:])), bits: u16(14)}
	if f.tag == wavExtensible && len(chunk) >= 26 {
		f.tag = u16(24) // the first two bytes of the sub-format's GUID
	}
	whole := f.bits == 8 || f.bits == 16 || f.bits == 24 || f.bits == 32
	switch {
	case f.tag == wavPCM && whole, f.tag == wavFloat && (f.bits == 32 || f.bits == 64):
	case f.tag == wavPCM || f.tag == wavFloat:
		return nil, damaged("WAV samples of %d bits are not read: want integers of 8, 16, 24 or 32 bits, or floats", f.bits)
	default:
		return nil, damaged("WAV samples of format %#x are not read: convert the file to PCM", f.tag)
	}
	if align := u16(12); align != f.channels*f.bits/8 {
		return nil, damaged("the WAV file's header contradicts itself: %d channels of %d bits in %d bytes", f.channels, f.bits, align)
	}
	return f, nil
}

// decode reads samples; a frame that is not whole at the end is left out.
func (f *wavFormat) decode(data []byte, s *sink) error {
	if err := s.start(f.rate, f.channels); err != nil {
		return err
	}
	const frames = 4096
	bytes, value := f.bits/8, f.value()
	buffer := make([]float32, 0, frames*f.channels)
	data = data[:len(data)/(bytes*f.channels)*bytes*f.channels]
	for len(data) > 0 {
		n := min(cap(buffer), len(data)/bytes)
		buffer = buffer[:n]
		for i := range buffer {
			buffer[i] = value(data[i*bytes:])
		}
		if err := s.write(buffer); err != nil {
			return err
		}
		data = data[n*bytes:]
	}
	return nil
}

// value returns the function that reads a sample from its bytes. Integers of n bits are divided by
// 2ⁿ⁻¹; those of 8 bits have an offset of 128.
func (f *wavFormat) value() func([]byte) float32 {
	le := binary.LittleEndian
	switch {
	case f.tag == wavFloat && f.bits == 32:
		return func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }
	case f.tag == wavFloat:
		return func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }
	case f.bits == 8:
		return func(b []byte) float32 { return (float32(b[0]) - 128) / (1 << 7) }
	case f.bits == 16:
		return func(b []byte) float32 { return float32(int16(le.Uint16(b))) / (1 << 15) }
	case f.bits == 24:
		return func(b []byte) float32 {
			return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)>>8) / (1 << 23)
		}
	}
	return func(b []byte) float32 { return float32(int32(le.Uint32(b))) / (1 << 31) }
}
