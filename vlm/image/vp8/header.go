package vp8

import "io"

// A frameTag is the uncompressed start of a key frame (RFC 6386, section 9.1).
type frameTag struct {
	width, height  int // in pixels
	firstPartition int // in bytes
}

const tagBytes = 10

// parseTag returns the tag of a key frame.
func parseTag(frame []byte) (t frameTag, err error) {
	if len(frame) < 3 {
		return t, io.ErrUnexpectedEOF
	}
	bits := int(frame[0]) | int(frame[1])<<8 | int(frame[2])<<16
	const lastVersion = 3
	key, version, shown := bits&1 == 0, bits>>1&7, bits>>4&1 == 1
	if !key || version > lastVersion || !shown {
		return t, ErrUnsupported
	}
	if len(frame) < tagBytes {
		return t, io.ErrUnexpectedEOF
	}
	if frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return t, errStartCode
	}
	const sizeBits = 1<<14 - 1 // the rest asks for scaling, which does not affect decoding
	t = frameTag{
		width:          (int(frame[6]) | int(frame[7])<<8) & sizeBits,
		height:         (int(frame[8]) | int(frame[9])<<8) & sizeBits,
		firstPartition: bits >> 5,
	}
	if t.width == 0 || t.height == 0 {
		return t, ErrUnsupported
	}
	return t, nil
}

const segments = 4

// segmentation overrides parameters for segments of the frame (sections 9.3 and 10).
type segmentation struct {
	enabled, updateMap, absolute bool
	quantizer, filterLevel       [segments]int
	treeProbs                    [segments - 1]uint8
}

// filterHeader has the frame's parameters of the loop filter (section 9.4).
type filterHeader struct {
	simple           bool
	level, sharpness int
	intraDelta       int // of the level: for all macroblocks of a key frame
	subblockDelta    int // and for those with subblock prediction
}

// quantIndices are indices of the tables of quantizers (section 9.6): a base, and differences
// to it.
type quantIndices struct{ yAC, yDC, y2DC, y2AC, uvDC, uvAC int }

// frameHeader is the compressed header of a key frame (sections 9.2 to 9.11, and 19.2).
type frameHeader struct {
	segmentation
	filter     filterHeader
	partitions int // 1, 2, 4 or 8, with coefficients
	quant      quantIndices
	skip       bool  // macroblocks may be marked as without coefficients
	skipProb   uint8 // of not being marked
}

// parseHeader decodes the header of a key frame, and its token probabilities to probs.
func parseHeader(d *boolDecoder, probs *tokenProbs) (h frameHeader) {
	d.literal(2) // color_space and clamping_type; decoders may always clamp
	h.segmentation = parseSegmentation(d)
	h.filter = parseFilter(d)
	h.partitions = 1 << d.literal(2)
	h.quant.yAC = d.literal(7)
	for _, delta := range []*int{&h.quant.yDC, &h.quant.y2DC, &h.quant.y2AC, &h.quant.uvDC, &h.quant.uvAC} {
		*delta = d.optional(4)
	}
	d.flag() // refresh_entropy_probs, for frames after this one
	updateTokenProbs(d, probs)
	if h.skip = d.flag(); h.skip {
		h.skipProb = uint8(d.literal(8))
	}
	return h
}

func parseSegmentation(d *boolDecoder) (s segmentation) {
	if s.enabled = d.flag(); !s.enabled {
		return s
	}
	s.updateMap = d.flag()
	s.absolute = true // with zeros, as libwebp assumes for a first frame without data
	if updateData := d.flag(); updateData {
		s.absolute = d.flag()
		for i := range s.quantizer {
			s.quantizer[i] = d.optional(7)
		}
		for i := range s.filterLevel {
			s.filterLevel[i] = d.optional(6)
		}
	}
	if s.updateMap {
		for i := range s.treeProbs {
			s.treeProbs[i] = 255
			if d.flag() {
				s.treeProbs[i] = uint8(d.literal(8))
			}
		}
	}
	return s
}

func parseFilter(d *boolDecoder) (f filterHeader) {
	f.simple = d.flag()
	f.level = d.literal(6)
	f.sharpness = d.literal(3)
	adjusted := d.flag()
	if adjusted && d.flag() {
		var deltas [8]int // four by reference frame, of which 0 is intra; four by mode
		for i := range deltas {
			deltas[i] = d.optional(6)
		}
		f.intraDelta, f.subblockDelta = deltas[0], deltas[4]
	}
	return f
}

// maxPartition is more bytes than the size of a partition may tell. The last one has no size
// in the frame; golang.org/x/image refuses it as well.
const maxPartition = 1 << 24

// splitPartitions returns the partitions with coefficients (section 9.5), of the bytes after
// the first partition.
func splitPartitions(data []byte, n int) ([]*boolDecoder, error) {
	const sizeBytes = 3
	if len(data) < sizeBytes*(n-1) {
		return nil, io.ErrUnexpectedEOF
	}
	sizes, data := data[:sizeBytes*(n-1)], data[sizeBytes*(n-1):]
	all := make([]*boolDecoder, n)
	for i := range all {
		size := len(data)
		if i < n-1 {
			size = int(sizes[3*i]) | int(sizes[3*i+1])<<8 | int(sizes[3*i+2])<<16
		}
		switch {
		case size > len(data):
			return nil, io.ErrUnexpectedEOF
		case size >= maxPartition:
			return nil, errLongData
		}
		d, err := newBoolDecoder(data[:size])
		if err != nil {
			return nil, err
		}
		all[i], data = d, data[size:]
	}
	return all, nil
}
