package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// setEcho makes a terminal show what is typed, or not.
func setEcho(f *os.File, on bool) {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return
	}
	if t.Lflag &^= unix.ECHO; on {
		t.Lflag |= unix.ECHO
	}
	_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t) // what is typed is shown, at worst
}
