package cpu

import (
	"syscall/js"
	"testing"
	"time"
)

// TestEvents: a timer of JavaScript fires while a program computes.
func TestEvents(t *testing.T) {
	fired := false
	f := js.FuncOf(func(js.Value, []js.Value) any {
		fired = true
		return nil
	})
	defer f.Release()
	js.Global().Call("setTimeout", f, 1)
	for start := time.Now(); !fired; {
		letOthersRun()
		if time.Since(start) > 10*time.Second {
			t.Fatal("no event in ten seconds")
		}
	}
}
