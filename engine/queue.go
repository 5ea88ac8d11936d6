package engine

import (
	"context"
	"unsafe"

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

	// WaitFetched waits until the data of every earlier Fetch is valid. It does not wait for
	// programs that were started after the last one.
	WaitFetched() error
}

// HostDevice is a Device whose memory is the host's.
type HostDevice interface {
	// HostBytes returns a range of memory itself, which programs read and write.
	HostBytes(m Memory, offset, bytes int64) ([]byte, error)
}

// HostFloats returns the 32-bit floats of a view themselves, where they are in the host's memory
// and in one allocation.
func HostFloats(dev Device, v View) ([]float32, bool) {
	h, ok := dev.(HostDevice)
	if !ok || v.Buffer.Type.Half() || !v.Buffer.Contiguous(v.Offset, v.Bytes) {
		return nil, false
	}
	r := Resolve(v)
	b, err := h.HostBytes(r.Memory, r.Offset, r.Bytes)
	if err != nil {
		return nil, false
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4), true
}

// FetchFloats reads a view of 32-bit floats; values are valid after WaitFetched.
func FetchFloats(dev Device, v View, values []float32) error {
	f, ok := dev.(Fetcher)
	if !ok || int64(len(values))*4 > v.Bytes {
		return Download(dev, v, values)
	}
	return eachAllocation(v, bytesOf(values), f.Fetch)
}

// WaitFetched waits for the values of earlier calls of FetchFloats and FetchTemp, and not for what
// was started after them.
func WaitFetched(dev Device) error {
	if f, ok := dev.(Fetcher); ok {
		return f.WaitFetched()
	}
	return nil
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
