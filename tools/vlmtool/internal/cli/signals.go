package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// graceful is set by commands that end by themselves when their context is cancelled,
// however long that takes: training saves a checkpoint first.
var graceful atomic.Bool

// EndGracefully keeps an interrupt from ending the process: the command that calls it
// ends by itself when its context is cancelled.
func EndGracefully() { graceful.Store(true) }

// quiet is set in processes that leave messages to another one.
var quiet atomic.Bool

// EndQuietly keeps an interrupt from writing a message: another process of the job does, or the
// command has ended.
func EndQuietly() { quiet.Store(true) }

// gracePeriod is how long other commands may take to end after the first signal.
const gracePeriod = 800 * time.Millisecond

// SignalContext is cancelled by the first signal that asks the program to end. A second
// one ends the program at once; the first does so too after a grace period, unless the
// command ends gracefully.
func SignalContext() context.Context {
	var signals []os.Signal
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as under nohup
			signals = append(signals, s)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() {
		stop() // restores the default action for the second signal
		time.Sleep(gracePeriod)
		if !graceful.Load() {
			if !quiet.Load() {
				fmt.Fprintf(os.Stderr, "vlmtool %s: interrupted\n", strings.Join(os.Args[1:min(2, len(os.Args))], ""))
			}
			os.Exit(ExitInterrupted)
		}
	})
	return ctx
}
