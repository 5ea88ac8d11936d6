//go:build js

// Package inpage is what the programs inside a web page's worker share: the device they run on
// and their messages to the page.
package inpage

import (
	"errors"
	"fmt"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/browser"
	"patchwork/engine/cpu"
	"patchwork/shaders"
)

// Open opens a device by name: "webgpu", "cpu" or "auto". Of "auto", the reason is why it is not
// WebGPU: a GPU in software is slower than the CPU backend.
func Open(name string) (dev engine.Device, reason string, err error) {
	if name == "cpu" {
		return cpu.Open(1), "", nil
	}
	dev, err = browser.Open()
	switch {
	case name == "webgpu":
		return dev, "", err
	case errors.Is(err, engine.ErrNoDevice), errors.Is(err, engine.ErrUnsupported):
		return cpu.Open(1), err.Error(), nil
	case err != nil:
		return nil, "", err
	case dev.Info().Class == shaders.Software:
		reason = fmt.Sprintf("the browser runs WebGPU in software (%s)", dev.Info().Name)
		return cpu.Open(1), reason, dev.Close()
	}
	return dev, "", nil
}

// PostDevice tells the page which device Open has opened.
func PostDevice(dev engine.Device, reason string) {
	info := dev.Info()
	Post(map[string]any{"kind": "device", "device": info.Device, "name": info.Name, "hardware": info.Hardware(), "reason": reason})
}

// Post sends the page a message.
func Post(message map[string]any) { js.Global().Call("postMessage", message) }

// PostError sends the page the error that ended the program.
func PostError(err error) { Post(map[string]any{"kind": "failed", "message": err.Error()}) }
