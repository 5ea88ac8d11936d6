package engine

import (
	"fmt"
	"unsafe"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// Word is a 4-byte element of a tensor.
type Word interface{ ~float32 | ~int32 | ~uint32 }

// Upload writes values to the start of a view of an allocated buffer.
func Upload[T Word](dev Device, v View, values []T) error {
	if int64(len(values))*4 > v.Bytes {
		return fmt.Errorf("upload of %d values into %q, which holds %d", len(values), v.Buffer.Label, v.Bytes/4)
	}
	return write(dev, v, bytesOf(values))
}

// Download reads the view into values.
func Download[T Word](dev Device, v View, values []T) error {
	if int64(len(values))*4 > v.Bytes {
		return fmt.Errorf("download of %d values from %q, which has %d", len(values), v.Buffer.Label, v.Bytes/4)
	}
	return read(dev, v, bytesOf(values))
}

// UploadBytes writes bytes at an offset of a view of an allocated buffer.
func UploadBytes(dev Device, v View, offset int64, data []byte) error {
	if offset+int64(len(data)) > v.Bytes {
		return fmt.Errorf("upload of %d bytes at %d into %q, which holds %d", len(data), offset, v.Buffer.Label, v.Bytes)
	}
	return write(dev, v.Slice(offset, int64(len(data))), data)
}

// DownloadBytes reads bytes at an offset of a view.
func DownloadBytes(dev Device, v View, offset int64, data []byte) error {
	if offset+int64(len(data)) > v.Bytes {
		return fmt.Errorf("download of %d bytes at %d from %q, which has %d", len(data), offset, v.Buffer.Label, v.Bytes)
	}
	return read(dev, v.Slice(offset, int64(len(data))), data)
}

func write(dev Device, v View, data []byte) error { return eachAllocation(v, data, dev.Write) }

func read(dev Device, v View, data []byte) error { return eachAllocation(v, data, dev.Read) }

// eachAllocation moves data from or to the start of a view, which on the host may span
// allocations.
func eachAllocation(v View, data []byte, move func(m Memory, offset int64, data []byte) error) error {
	at := v.Offset
	for {
		p := v.Buffer.allocationAt(at)
		n := max(0, min(int64(len(data)), p.start+p.bytes-at))
		if err := move(p.memory, p.offset+at-p.start, data[:n]); err != nil {
			return err
		}
		if at, data = at+n, data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// readTemp reads the start of a kept temporary of a program that has run.
func readTemp(dev Device, e Executable, v View, data []byte) error {
	return dev.Read(e.Arena()[v.Buffer.segment], v.Buffer.offset+v.Offset, data)
}

// DownloadTemp reads a kept temporary of a program that has run.
func DownloadTemp[T Word](dev Device, e Executable, v View, values []T) error {
	if int64(len(values))*4 > v.Bytes {
		return fmt.Errorf("download of %d values from %q, which has %d", len(values), v.Buffer.Label, v.Bytes/4)
	}
	return readTemp(dev, e, v, bytesOf(values))
}

func bytesOf[T Word](values []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*4)
}

// UploadFloats writes values to the start of a view, rounded to its type.
func UploadFloats(dev Device, v View, values []float32) error {
	t := v.Buffer.Type
	if !t.Half() {
		return Upload(dev, v, values)
	}
	if n := int64(len(values)); t.Size()*n > v.Bytes {
		return fmt.Errorf("upload of %d values into %q, which holds %d", n, v.Buffer.Label, v.Bytes/t.Size())
	}
	packed := make([]uint16, len(values))
	simd.Pack(t.Format(), packed, values)
	return write(dev, v, halfBytes(packed))
}

// DownloadFloats reads the start of a view into values, whatever its type.
func DownloadFloats(dev Device, v View, values []float32) error {
	return floats(v, values, func(data []byte) error { return read(dev, v, data) })
}

// DownloadTempFloats reads a kept temporary of a program that has run, whatever its
// type.
func DownloadTempFloats(dev Device, e Executable, v View, values []float32) error {
	return floats(v, values, func(data []byte) error { return readTemp(dev, e, v, data) })
}

// floats converts what read returns from the start of a view.
func floats(v View, values []float32, read func(data []byte) error) error {
	t := v.Buffer.Type
	if n := int64(len(values)); t.Size()*n > v.Bytes {
		return fmt.Errorf("download of %d values from %q, which has %d", n, v.Buffer.Label, v.Bytes/t.Size())
	}
	if !t.Half() {
		return read(bytesOf(values))
	}
	packed := make([]uint16, len(values))
	if err := read(halfBytes(packed)); err != nil {
		return err
	}
	simd.Unpack(t.Format(), values, packed)
	return nil
}

func halfBytes(values []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 2*len(values))
}

// BufferSize is the size in bytes of n elements of a type in a buffer, a multiple of 4.
func BufferSize(t shaders.Type, n int) int64 { return (t.Size()*int64(n) + 3) / 4 * 4 }
