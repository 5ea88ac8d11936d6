package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// orderly says that the command ends in order by itself when its context does, however
// long that takes: training saves a checkpoint first.
var orderly atomic.Bool

// patience is how long other commands may take to end after the first signal.
const patience = 800 * time.Millisecond

// untilSignal is a context that ends with the first signal that asks the program to end.
// A second one ends the program at once.
func untilSignal() (context.Context, context.CancelFunc) {
	var signals []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as under nohup
			signals = append(signals, s)
		}
	}
	return signal.NotifyContext(context.Background(), signals...)
}

// endSoon makes sure that a command whose context has ended does so too.
func endSoon(name string, stderr io.Writer) {
	time.Sleep(patience)
	if !orderly.Load() {
		fmt.Fprintf(stderr, "vlmtool %s: interrupted\n", name)
		os.Exit(exitInterrupted)
	}
}
