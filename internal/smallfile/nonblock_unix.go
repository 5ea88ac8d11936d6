//go:build unix

package smallfile

import "golang.org/x/sys/unix"

// nonblock keeps the opening of a pipe without a writer from waiting for one.
const nonblock = unix.O_NONBLOCK
