package cpu

import "golang.org/x/sys/unix"

// largePages requests pages of 2 MiB for memory that is read sequentially: the
// processor's prefetching stops at the end of a page. The request is a hint.
func largePages(data []byte) {
	const page = 2 << 20
	if len(data) >= 2*page {
		skip := -address(data) % page
		_ = unix.Madvise(data[skip:], unix.MADV_HUGEPAGE)
	}
}
