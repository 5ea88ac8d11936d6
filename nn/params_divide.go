package nn

import (
	"fmt"
	"strings"

	"patchwork/engine"
)

// Divide cuts the set's buffers for a device, so that no part is larger than a buffer
// of the device: between layers where that is possible, else between parameters. It
// is called before the parameters are recorded and placed. A parameter that is
// larger alone is an engine.ErrUnsupported.
func (s *Params) Divide(info engine.Info) error {
	if s.packed {
		return s.dividePacked(info)
	}
	cuts, err := cutsOf(s.list, s.Weights.Bytes, 4, info)
	if err != nil {
		return err
	}
	for _, b := range []*engine.Buffer{s.Weights, s.Grads, s.M, s.V} {
		b.SplitAt(cuts)
	}
	if s.Narrow != nil {
		s.Narrow.SplitAt(halves(cuts))
	}
	return nil
}

func (s *Params) dividePacked(info engine.Info) error {
	var factors, others []*Param
	for _, p := range s.list {
		if p.Factor {
			factors = append(factors, p)
		} else {
			others = append(others, p)
		}
	}
	wide, err := cutsOf(others, s.Weights.Bytes, 4, info)
	if err != nil {
		return err
	}
	narrow, err := cutsOf(factors, 2*s.Narrow.Bytes, 2, info)
	if err != nil {
		return err
	}
	s.Weights.SplitAt(wide)
	s.Narrow.SplitAt(halves(narrow))
	return nil
}

// cutsOf returns the offsets before which a buffer is cut that holds parameters one
// after another up to end. Offsets are those of 4 bytes an element; in memory it
// takes size bytes.
func cutsOf(params []*Param, end, size int64, info engine.Info) (cuts []int64, err error) {
	limit := info.Limits.MaxBufferBytes
	most := limit / size * 4 / paramAlignment * paramAlignment
	if limit == 0 || end <= most {
		return nil, nil
	}
	ends := make([]int64, len(params)) // of each parameter
	for i := range params {
		if ends[i] = end; i+1 < len(params) {
			ends[i] = params[i+1].offset
		}
	}
	layers := make([]int64, len(params)) // where the layer of each ends
	for i := len(params) - 1; i >= 0; i-- {
		if layers[i] = ends[i]; i+1 < len(params) && layerOf(params[i]) == layerOf(params[i+1]) {
			layers[i] = layers[i+1]
		}
	}
	var start int64
	for i, p := range params {
		opens := i == 0 || layerOf(p) != layerOf(params[i-1])
		if p.offset > start && (ends[i]-start > most || opens && layers[i]-start > most) {
			cuts, start = append(cuts, p.offset), p.offset
		}
		if ends[i]-start > most {
			return nil, fmt.Errorf("%s needs %s in one buffer, %s makes none of more than %s: %w; --device cpu has no such limit",
				p.Name, engine.Bytes(p.Bytes()*size/4), info.Device, engine.Bytes(limit), engine.ErrUnsupported)
		}
	}
	return cuts, nil
}

// layerOf is a parameter's name up to the last number in it, as in "layers.3".
func layerOf(p *Param) string {
	parts := strings.Split(p.Name, ".")
	for n := len(parts); n > 0; n-- {
		if strings.Trim(parts[n-1], "0123456789") == "" {
			return strings.Join(parts[:n], ".")
		}
	}
	return p.Name
}

// halves are cuts of the copy in 16 bits.
func halves(cuts []int64) []int64 {
	half := make([]int64, len(cuts))
	for i, at := range cuts {
		half[i] = at / 2
	}
	return half
}

// Range is a contiguous run of parameters that AdamW treats alike, in one part of the
// buffers.
type Range struct {
	Group         string
	Decay         bool
	Offset, Bytes int64
}

// Ranges returns the runs of parameters that are not frozen.
func (s *Params) Ranges() []Range {
	var ranges []Range
	for i, p := range s.list {
		if !s.takesGradient(p) {
			continue
		}
		end := s.Weights.Bytes
		if i+1 < len(s.list) {
			end = s.list[i+1].offset
		}
		last := len(ranges) - 1
		if last >= 0 && ranges[last].Group == p.Group && ranges[last].Decay == p.Decay && s.Weights.Contiguous(ranges[last].Offset, end-ranges[last].Offset) {
			ranges[last].Bytes = end - ranges[last].Offset
			continue
		}
		ranges = append(ranges, Range{p.Group, p.Decay, p.offset, end - p.offset})
	}
	return ranges
}
