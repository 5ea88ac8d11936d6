package main

import "patchwork/tools/simdgen/arm64"

func defineNeonQuantDecode(f *arm64.File) {
	for _, b := range blockFormats {
		d := neonDecoder{}
		d.blockFormat = b
		d.Function = f.Function("decode"+b.name+"NEON", "func(dst *float32, ldd int, src *byte, lds, rows, group int)",
			"decode"+b.name+"NEON: see Decoder.")
		d.define()
	}
	defineNeonQuantize(f)
}

// neonDecoder generates the decoding of 32 values from each of some blocks. Of a block of 256 values
// the group is known only when it runs: it gives addresses, shifts and the index of the scale.
type neonDecoder struct {
	neonUnpacker

	group             arm64.R
	src, low, scaleAt arm64.R // offsets of the group in a block
	high              arm64.R
	nibble, upper     *arm64.V // shifts of bytes to the left
	index             *arm64.V // of scale and minimum
}

func (d *neonDecoder) define() {
	dst, ldd := d.Param("dst"), bytesOf(d.Function, "ldd", 2)
	d.src = d.Param("src")
	lds, rows := d.Param("lds"), d.Param("rows")
	d.hold()
	if d.large {
		d.group = d.Param("group")
		d.find()
	}
	d.Label("row")
	var v [2]*arm64.V
	if d.large {
		v = d.unpack()
	} else {
		v = d.small(d.src, 0)
	}
	scales, mins := d.factors()
	for i, bytes := range v {
		x := d.floats(bytes)
		for j := range x {
			lane := 0
			if d.blockFormat == q6_K {
				lane = i
			}
			d.FMULLane(x[j], x[j], scales, lane)
			switch {
			case d.min && d.large:
				d.FSUB(x[j], x[j], mins)
			case d.min:
				d.FADD(x[j], x[j], mins)
			}
		}
		d.StorePair(x[0], x[1], dst, 64*i)
		d.StorePair(x[2], x[3], dst, 64*i+32)
	}
	d.Op("ADD %s, %s, %s", lds, d.src, d.src)
	d.Op("ADD %s, %s, %s", ldd, dst, dst)
	d.Op("SUBS $1, %s, %s", rows, rows)
	d.Branch("BNE row")
	d.Return()
}

// find computes where the group lies in a block of 256 values.
func (d *neonDecoder) find() {
	d.low, d.nibble = d.Reg(), d.Pinned()
	t := d.Reg()
	if d.blockFormat != q6_K {
		d.Op("AND $6, %s, %s", d.group, d.low) // 32 bytes for two groups
		d.Op("LSL $4, %s, %s", d.low, d.low)
		d.Op("AND $1, %s, %s", d.group, t)
		d.Op("LSL $2, %s, %s", t, t)
		d.negated(d.nibble, t)
		if d.blockFormat == q5_K {
			d.upper = d.Pinned()
			d.Op("MOVD $4, %s", t)
			d.Op("SUB %s, %s, %s", d.group, t, t)
			d.DUPB(d.upper, t)
		}
		d.index = d.Pinned()
		number, base := d.Vec(), d.Vec()
		d.DUPB(number, d.group)
		d.Bytes(base, 0, 128, 128, 128, 8, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128)
		d.ADDB(d.index, base, number)
		return
	}
	part, in := d.Reg(), d.Reg()
	d.upper, d.high, d.scaleAt = d.Pinned(), d.Reg(), d.Reg()
	d.Op("LSR $2, %s, %s", d.group, part)
	d.Op("AND $3, %s, %s", d.group, in)
	d.Op("LSL $6, %s, %s", part, d.low)
	d.Op("AND $1, %s, %s", in, t)
	d.Op("ADD %s<<5, %s, %s", t, d.low, d.low)
	d.Op("AND $2, %s, %s", in, t)
	d.Op("LSL $1, %s, %s", t, t)
	d.negated(d.nibble, t)
	d.Op("MOVD $4, %s", t)
	d.Op("SUB %s<<1, %s, %s", in, t, t)
	d.DUPB(d.upper, t)
	d.Op("LSL $5, %s, %s", part, d.high)
	d.Op("LSL $1, %s, %s", d.group, d.scaleAt)
}

// negated broadcasts -r to bytes.
func (d *neonDecoder) negated(v *arm64.V, r arm64.R) {
	d.Op("NEG %s, %s", r, r)
	d.DUPB(v, r)
}

// unpack unpacks the group of the block at src.
func (d *neonDecoder) unpack() (v [2]*arm64.V) {
	start := map[blockFormat]int{q4_K: 16, q5_K: 48, q6_K: 0}[d.blockFormat]
	at, high := d.Reg(), d.Reg()
	d.Op("ADD %s, %s, %s", d.low, d.src, at)
	highStart := 16
	if d.blockFormat == q6_K {
		highStart = 128
		d.Op("ADD %s, %s, %s", d.high, d.src, high)
	} else {
		high = d.src
	}
	for i := range v {
		v[i] = d.Vec()
		d.Load(arm64.Four, v[i], at, start+16*i)
		d.USHLB(v[i], v[i], d.nibble)
		d.AND(v[i], v[i], d.constant(15))
		if d.blockFormat == q4_K {
			continue
		}
		bits, kept := d.Vec(), byte(16)
		if d.blockFormat == q6_K {
			kept = 0x30
		}
		d.Load(arm64.Four, bits, high, highStart+16*i)
		d.USHLB(bits, bits, d.upper)
		d.AND(bits, bits, d.constant(kept))
		d.ORR(v[i], v[i], bits)
		if d.blockFormat == q6_K {
			d.SUBB(v[i], v[i], d.constant(32))
		}
	}
	return v
}

// factors are the scales, in lane 0, of the second sixteen values of Q6_K in lane 1, and the minimum in
// every lane.
func (d *neonDecoder) factors() (scales, mins *arm64.V) {
	scales = d.Vec()
	switch {
	case d.blockFormat == q6_K:
		factor, at := d.Vec(), d.Reg()
		d.Op("ADD %s, %s, %s", d.scaleAt, d.src, at)
		d.LoadHalf(scales, at, 192)
		d.SXTLB(scales, scales)
		d.SXTLH(scales, scales)
		d.SCVTF(scales, scales)
		d.LoadHalf(factor, d.src, 208)
		d.FCVTL(factor, factor)
		d.FMULLane(scales, scales, factor, 0)
		return scales, nil
	case d.large:
		all, both := d.scalesAndMins(d.src)
		d.TBL(scales, all, d.index)
		d.SCVTF(scales, scales)
		d.FMUL(scales, scales, both)
	case d.min:
		d.Load(arm64.One, scales, d.src, 0)
		d.FCVTL(scales, scales)
	default:
		d.LoadHalf(scales, d.src, 0)
		d.FCVTL(scales, scales)
		return scales, nil
	}
	mins = d.Vec()
	d.Lane(mins, scales, 1)
	return scales, mins
}
