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
func unfilterUpAVX2(_, _ *byte, _ int)                        {}
func unfilterSub3AVX2(_, _ *byte, _ int)                      {}
func unfilterSub4AVX2(_, _ *byte, _ int)                      {}
func unfilterAverage3AVX2(_, _ *byte, _ int)                  {}
func unfilterAverage4AVX2(_, _ *byte, _ int)                  {}
func unfilterPaeth3AVX2(_, _ *byte, _ int)                    {}
func unfilterPaeth4AVX2(_, _ *byte, _ int)                    {}
func limitedRangeAVX2(_, _, _, _ *byte, _ int)                {}
func upsampleAVX2(_, _, _ *byte, _ int)                       {}
func inverseVP8AVX2(*byte, int, *int16)                       {}
func filterRowsAVX2(_, _ *byte, _, _, _, _ int)               {}
func filterInnerRowsAVX2(_, _ *byte, _, _, _, _ int)          {}
func filterColumnsAVX2(_, _ *byte, _, _, _, _ int)            {}
func filterInnerColumnsAVX2(_, _ *byte, _, _, _, _ int)       {}
