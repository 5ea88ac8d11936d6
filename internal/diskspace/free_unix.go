//go:build linux || darwin || freebsd

package diskspace

import (
	"math"
	"math/bits"

	"golang.org/x/sys/unix"
)

func free(path string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil || s.Blocks == 0 { // some file systems count nothing
		return math.MaxInt64
	}
	high, low := bits.Mul64(uint64(max(0, int64(s.Bavail))), uint64(s.Bsize))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}
