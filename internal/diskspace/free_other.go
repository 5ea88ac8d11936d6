//go:build !(linux || darwin || freebsd)

package diskspace

import "math"

func free(string) int64 { return math.MaxInt64 }
