//go:build js

package browser

import (
	"context"
	"errors"
	"syscall/js"
	"unsafe"

	"patchwork/engine/gpu"
)

// try calls f and returns what it throws.
func try(f func()) (err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case js.Error:
			err = reason(thrown.Value)
		default:
			panic(thrown)
		}
	}()
	f()
	return nil
}

// reason is what was thrown, or what a promise was rejected with, as an error.
func reason(v js.Value) error {
	if v.Type() == js.TypeObject && v.Get("message").Type() == js.TypeString {
		return errors.New(gpu.OneLine(v.Get("message").String()))
	}
	return errors.New(gpu.OneLine(js.Global().Call("String", v).String()))
}

// promised is the outcome of a promise: a value is sent once it is settled.
type promised chan outcome

type outcome struct {
	value js.Value
	err   error
}

// watch returns the outcome of a promise.
func watch(promise js.Value) promised {
	p := make(promised, 1)
	var done, failed js.Func
	settle := func(o outcome) any {
		done.Release()
		failed.Release()
		p <- o
		return nil
	}
	done = js.FuncOf(func(_ js.Value, args []js.Value) any { return settle(outcome{value: args[0]}) })
	failed = js.FuncOf(func(_ js.Value, args []js.Value) any { return settle(outcome{err: reason(args[0])}) })
	promise.Call("then", done, failed)
	return p
}

// wait waits for the outcome or for the context's end.
func (p promised) wait(ctx context.Context) (js.Value, error) {
	select {
	case o := <-p:
		return o.value, o.err
	case <-ctx.Done():
		return js.Undefined(), ctx.Err()
	}
}

// Await waits for a promise.
func Await(promise js.Value) (js.Value, error) {
	o := <-watch(promise)
	return o.value, o.err
}

// script is browser.js.
var script = js.Global().Get("patchworkGPU")

// pointer is the address of a slice in the program's memory. The slice must be used after the
// call that gets it.
func pointer[T any](s []T) int { return int(uintptr(unsafe.Pointer(unsafe.SliceData(s)))) }
