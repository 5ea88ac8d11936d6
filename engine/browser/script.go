//go:build js

package browser

import (
	"context"
	"errors"
	"syscall/js"
	"unsafe"
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
		return errors.New(oneLine(v.Get("message").String()))
	}
	return errors.New(oneLine(js.Global().Call("String", v).String()))
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

// await waits for a promise.
func await(promise js.Value) (js.Value, error) {
	o := <-watch(promise)
	return o.value, o.err
}

var uint8Array = js.Global().Get("Uint8Array")

// memoryOf returns a byte array of JavaScript over a Go slice itself, until the program's
// memory grows. It is undefined where the page does not provide the memory.
func memoryOf(b []byte) js.Value {
	memory := js.Global().Get("patchworkMemory")
	if memory.IsUndefined() || len(b) == 0 {
		return js.Undefined()
	}
	return uint8Array.New(memory.Get("buffer"), int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), len(b))
}

// toScript returns a byte array with the contents of a Go slice, to be read before Go runs
// on.
func toScript(b []byte) js.Value {
	array := memoryOf(b)
	if array.IsUndefined() {
		array = uint8Array.New(len(b))
		js.CopyBytesToJS(array, b)
	}
	return array
}

// fromScript copies a byte array of the same length to a Go slice.
func fromScript(b []byte, array js.Value) {
	if to := memoryOf(b); !to.IsUndefined() {
		to.Call("set", array)
		return
	}
	js.CopyBytesToGo(b, array)
}
