package cpu

import (
	"runtime"
	"syscall/js"
	"time"
)

// eventInterval is how long a program computes before JavaScript's events are let in.
const eventInterval = 30 * time.Millisecond

var lastEvents time.Time // there is one thread

// letOthersRun lets other goroutines run, and now and then events: without it a worker gets no
// message, and a timer does not fire, as long as there is something to compute.
func letOthersRun() {
	runtime.Gosched()
	if time.Since(lastEvents) < eventInterval {
		return
	}
	done := make(chan struct{})
	wake := js.FuncOf(func(js.Value, []js.Value) any {
		close(done)
		return nil
	})
	defer wake.Release()
	if immediate := js.Global().Get("setImmediate"); !immediate.IsUndefined() { // node
		immediate.Invoke(wake)
	} else { // browsers delay setTimeout by milliseconds, but not a message
		channel := js.Global().Get("MessageChannel").New()
		channel.Get("port1").Set("onmessage", wake)
		channel.Get("port2").Call("postMessage", 0)
	}
	<-done
	lastEvents = time.Now()
}
