//go:build !amd64

package simd

// There is no assembly for this processor.
const hasAVX2 = false

func inverseDCTAVX2(*byte, int, *int16, *int32) bool          { return false }
func fullRangeAVX2(_, _, _, _ *byte, _ int)                   {}
func doubleLineAVX2(_, _ *byte, _ int)                        {}
func doubleLinesAVX2(_, _, _ *byte, _ int)                    {}
func resizeRowAVX2(_, _ *byte, _, _ *int32, _, _ int)         {}
func resizeColumnsAVX2(_, _ *byte, _ int, _ *int32, _, _ int) {}
