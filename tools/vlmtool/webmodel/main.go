//go:build js

// Webmodel is the program inside a site that vlmtool export --web wrote: a model in a web page's
// worker, on WebGPU or else on the CPU. The worker, site/worker.js of package web, asks it as
// programs ask vlmtool serve, by OpenAI's API.
//
// The worker's global variable patchworkOptions holds what to load, and its function
// patchworkDownload fetches the weights into the file that the options name.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/browser"
	"patchwork/tools/vlmtool/internal/inpage"
	"patchwork/tools/vlmtool/internal/serve"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
	schedule "patchwork/vlm/serve"
)

func main() {
	if err := run(); err != nil {
		inpage.PostError(err)
	}
}

// options are patchworkOptions.
type options struct {
	model   string // path of the file
	id      string
	device  string // "auto", "webgpu" or "cpu"
	memory  int64  // bytes, of weights, cache and activations
	context int    // tokens
}

func readOptions() options {
	o := js.Global().Get("patchworkOptions")
	return options{
		o.Get("model").String(), o.Get("id").String(), o.Get("device").String(), int64(o.Get("memory").Float()), o.Get("context").Int(),
	}
}

func run() error {
	o := readOptions()
	dev, reason, err := inpage.Open(o.device)
	if err != nil {
		return err
	}
	if err := probe(dev, o.memory); err != nil {
		return err
	}
	inpage.PostDevice(dev, reason)
	if _, err := browser.Await(js.Global().Call("patchworkDownload")); err != nil {
		return err
	}
	model, err := o.load(dev)
	if err != nil {
		return err
	}
	scheduler, err := schedule.NewBatched(model, schedule.Options{Parallel: 1, Queue: 4, Context: o.context, Reopen: func() (*vlm.Runner, error) {
		again, _, err := inpage.Open(o.device)
		if err != nil {
			return nil, err
		}
		return o.load(again)
	}})
	if err != nil {
		return err
	}
	defer scheduler.Close()
	answer(serve.Handler(o.id, model, scheduler))
	inpage.Post(map[string]any{"kind": "ready", "memory": scheduler.Stats().MemoryBytes})
	select {}
}

// load loads the model with its weights as they are in the file.
func (o options) load(dev engine.Device) (*vlm.Runner, error) {
	return pretrained.LoadWith(o.model, dev, pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
}

// wasmMemory is the most that a WebAssembly program can address, less what Go needs beside a model.
const wasmMemory = 7 << 29

// probe returns an error if the device does not have so much memory, before anything is downloaded.
func probe(dev engine.Device, bytes int64) error {
	if dev.Info().Kind == "cpu" {
		if bytes > wasmMemory {
			return fmt.Errorf("the model needs %s of memory, but a page without WebGPU can have at most %s", engine.Bytes(bytes), engine.Bytes(wasmMemory))
		}
		return nil
	}
	var sizes engine.Segments
	for left, most := bytes, dev.Info().Limits.MaxBufferBytes; left > 0; left -= most {
		sizes = append(sizes, min(left, most))
	}
	memories, err := engine.AllocateSegments(dev, "the model", sizes)
	engine.Free(memories)
	if errors.Is(err, engine.ErrOutOfMemory) {
		return fmt.Errorf("the model needs %s of memory, which %s does not have free", engine.Bytes(bytes), dev.Info().Name)
	}
	return err
}

// answer lets the worker ask.
func answer(h http.Handler) {
	requests := newRequests(h)
	js.Global().Set("patchworkRequest", js.FuncOf(func(_ js.Value, args []js.Value) any {
		body := make([]byte, args[3].Length())
		js.CopyBytesToGo(body, args[3])
		go requests.serve(context.Background(), args[0].Int(), args[1].String(), args[2].String(), body)
		return nil
	}))
	js.Global().Set("patchworkAbort", js.FuncOf(func(_ js.Value, args []js.Value) any {
		requests.abort(args[0].Int())
		return nil
	}))
}
