//go:build !linux

package terminal

import "os"

func setEcho(*os.File, bool) {}
