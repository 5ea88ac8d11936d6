//go:build unix

package train

import (
	"os"
	"syscall"
)

// stopSignals end a run with a checkpoint, besides interrupts: a closed pipe on the output, as in
// train | head, and SIGUSR1, which mpirun passes on to all ranks without killing them afterwards
// and batch systems send before a job's time is over.
var stopSignals = []os.Signal{syscall.SIGPIPE, syscall.SIGUSR1}
