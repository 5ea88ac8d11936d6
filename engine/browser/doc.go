// Package browser runs the engine's programs by the WebGPU of a web page or of its worker,
// through syscall/js. It compiles the kernels' WGSL, and encodes a program again for every
// replay, as package webgpu does. On other systems than js the package is empty.
//
// A method that waits for the device parks its goroutine and returns to the event loop: it
// must not be called from a callback of JavaScript, but from a goroutine that one starts.
//
// The page loads browser.js, which does in one call what would take Go many.
package browser

import _ "embed"

// Script is browser.js.
//
//go:embed browser.js
var Script []byte
