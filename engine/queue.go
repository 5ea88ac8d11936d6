package engine

import (
	"context"

	"patchwork/shaders"
)

// Starter is an Executable that runs asynchronously.
type Starter interface {
	// Start is Run without the wait. Later calls on the device are ordered after it; they
	// may return its error.
	Start(ctx context.Context, step *[shaders.StepWords]uint32) error
}

// Start starts a program, or runs it where its backend is synchronous.
func Start(ctx context.Context, e Executable, step *[shaders.StepWords]uint32) error {
	if s, ok := e.(Starter); ok {
		return s.Start(ctx, step)
	}
	return e.Run(ctx, step)
}

// Fetcher is a Device that reads memory asynchronously.
type Fetcher interface {
	// Fetch is Read without the wait: data is valid after the next Read, and must not be
	// used before.
	Fetch(m Memory, offset int64, data []byte) error
}

// FetchTemp is DownloadTemp without the wait, where the device supports it: values are
// valid after the next download.
func FetchTemp[T Word](dev Device, e Executable, v View, values []T) error {
	f, ok := dev.(Fetcher)
	if !ok || int64(len(values))*4 > v.Bytes {
		return DownloadTemp(dev, e, v, values)
	}
	return f.Fetch(e.Arena()[v.Buffer.segment], v.Buffer.offset+v.Offset, bytesOf(values))
}
