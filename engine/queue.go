package engine

import (
	"context"

	"patchwork/shaders"
)

// Starter is an Executable whose device works while the host goes on.
type Starter interface {
	// Start is Run without the waiting. What is asked of the device later finds the
	// program done; an error of its own may come with that.
	Start(ctx context.Context, step *[shaders.StepWords]uint32) error
}

// Start starts a program, or runs it where its device cannot work alone.
func Start(ctx context.Context, e Executable, step *[shaders.StepWords]uint32) error {
	if s, ok := e.(Starter); ok {
		return s.Start(ctx, step)
	}
	return e.Run(ctx, step)
}

// Fetcher is a Device that copies memory out while the host goes on.
type Fetcher interface {
	// Fetch is Read without the waiting: data are there after the next Read, and
	// must not be touched before.
	Fetch(m Memory, offset int64, data []byte) error
}

// FetchTemp is DownloadTemp without the waiting, where the device can: values are
// there after the next download.
func FetchTemp[T Word](dev Device, e Executable, v View, values []T) error {
	f, ok := dev.(Fetcher)
	if !ok || int64(len(values))*4 > v.Bytes {
		return DownloadTemp(dev, e, v, values)
	}
	return f.Fetch(e.Arena()[v.Buffer.segment], v.Buffer.offset+v.Offset, bytesOf(values))
}
