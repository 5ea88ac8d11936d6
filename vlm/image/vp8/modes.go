package vp8

// Prediction modes of a whole macroblock, luma or chroma (RFC 6386, section 11.2).
const (
	predictDC = iota
	predictVertical
	predictHorizontal
	predictTrueMotion
	predictSubblocks // luma only: each 4×4 subblock has a mode of its own
)

// Prediction modes of a subblock.
const (
	subblockDC = iota
	subblockTrueMotion
	subblockVertical
	subblockHorizontal
	subblockLeftDown
	subblockRightDown
	subblockVerticalRight
	subblockVerticalLeft
	subblockHorizontalDown
	subblockHorizontalUp

	subblockModes // their number
)

var (
	lumaTree = tree{
		-predictSubblocks, 2,
		4, 6,
		-predictDC, -predictVertical,
		-predictHorizontal, -predictTrueMotion,
	}
	lumaProbs = []uint8{145, 156, 163, 128}

	chromaTree = tree{
		-predictDC, 2,
		-predictVertical, 4,
		-predictHorizontal, -predictTrueMotion,
	}
	chromaProbs = []uint8{142, 114, 183} // section 11.4

	subblockTree = tree{
		-subblockDC, 2,
		-subblockTrueMotion, 4,
		-subblockVertical, 6,
		8, 12,
		-subblockHorizontal, 10,
		-subblockRightDown, -subblockVerticalRight,
		-subblockLeftDown, 14,
		-subblockVerticalLeft, 16,
		-subblockHorizontalDown, -subblockHorizontalUp,
	}

	segmentTree = tree{2, 4, 0, -1, -2, -3} // section 10
)

// impliedMode is the subblock mode that a macroblock's luma mode is to its neighbours
// (section 11.3).
var impliedMode = [predictSubblocks]uint8{
	predictDC:         subblockDC,
	predictVertical:   subblockVertical,
	predictHorizontal: subblockHorizontal,
	predictTrueMotion: subblockTrueMotion,
}

// A macroblock is a macroblock's header (section 19.3).
type macroblock struct {
	segment      uint8
	skipped      bool // without coefficients
	luma, chroma uint8
	subblocks    [16]uint8 // modes, if luma is predictSubblocks
}

// parseMacroblock decodes the header of a macroblock. above and left are the modes of the
// subblocks next to it, which it replaces by its own.
func parseMacroblock(d *boolDecoder, h *frameHeader, above, left *[4]uint8, m *macroblock) {
	m.segment, m.skipped = 0, false
	if h.updateMap {
		m.segment = d.value(segmentTree, h.treeProbs[:])
	}
	if h.skip {
		m.skipped = d.bool(h.skipProb)
	}
	m.luma = d.value(lumaTree, lumaProbs)
	if m.luma == predictSubblocks {
		for y := range left {
			mode := left[y]
			for x := range above {
				mode = d.value(subblockTree, subblockProbs[above[x]][mode][:])
				above[x], m.subblocks[4*y+x] = mode, mode
			}
			left[y] = mode
		}
	} else {
		mode := impliedMode[m.luma]
		*above = [4]uint8{mode, mode, mode, mode}
		*left = *above
	}
	m.chroma = d.value(chromaTree, chromaProbs)
}
