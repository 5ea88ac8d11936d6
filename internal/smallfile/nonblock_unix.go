//go:build unix

package smallfile

import "golang.org/x/sys/unix"

// nonblock makes opening a pipe without a writer return at once.
const nonblock = unix.O_NONBLOCK
