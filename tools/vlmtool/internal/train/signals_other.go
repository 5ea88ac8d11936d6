//go:build !unix

package train

import (
	"os"
	"syscall"
)

// stopSignals end a run with a checkpoint, besides interrupts: a closed pipe on the output, as in
// train | head.
var stopSignals = []os.Signal{syscall.SIGPIPE}
