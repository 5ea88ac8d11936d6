package engine

import (
	"fmt"
	"unsafe"

	"patchwork/shaders"
	"patchwork/shaders/simd"
)

// Word is a 4-byte element of a tensor.
type Word interface{ ~float32 | ~int32 | ~uint32 }

// Upload writes values to the start of a placed persistent buffer.
func Upload[T Word](dev Device, v View, values []T) error {
	if int64(len(values))*4 > v.Bytes {
		return fmt.Errorf("upload of %d values into %q, which has room for %d", len(values), v.Buffer.Label, v.Bytes/4)
	}
	return dev.Write(v.Buffer.memory, v.Buffer.offset+v.Offset, bytesOf(values))
}

// Download reads the view into values.
func Download[T Word](dev Device, v View, values []T) error {
	if int64(len(values))*4 > v.Bytes {
		return fmt.Errorf("download of %d values from %q, which has %d", len(values), v.Buffer.Label, v.Bytes/4)
	}
	return dev.Read(v.Buffer.memory, v.Buffer.offset+v.Offset, bytesOf(values))
}

// DownloadTemp reads a kept temporary of a program that has run.
func DownloadTemp[T Word](dev Device, e Executable, v View, values []T) error {
	if int64(len(values))*4 > v.Bytes {
		return fmt.Errorf("download of %d values from %q, which has %d", len(values), v.Buffer.Label, v.Bytes/4)
	}
	return dev.Read(e.Arena(), v.Buffer.offset+v.Offset, bytesOf(values))
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
		return fmt.Errorf("upload of %d values into %q, which has room for %d", n, v.Buffer.Label, v.Bytes/t.Size())
	}
	packed := make([]uint16, len(values))
	simd.Pack(t.Format(), packed, values)
	return dev.Write(v.Buffer.memory, v.Buffer.offset+v.Offset, halfBytes(packed))
}

// DownloadFloats reads the start of a view into values, whatever its type.
func DownloadFloats(dev Device, v View, values []float32) error {
	return downloadFloats(dev, v.Buffer.memory, v, values)
}

// DownloadTempFloats reads a kept temporary of a program that has run, whatever its
// type.
func DownloadTempFloats(dev Device, e Executable, v View, values []float32) error {
	return downloadFloats(dev, e.Arena(), v, values)
}

func downloadFloats(dev Device, m Memory, v View, values []float32) error {
	t := v.Buffer.Type
	if n := int64(len(values)); t.Size()*n > v.Bytes {
		return fmt.Errorf("download of %d values from %q, which has %d", n, v.Buffer.Label, v.Bytes/t.Size())
	}
	at := v.Buffer.offset + v.Offset
	if !t.Half() {
		return dev.Read(m, at, bytesOf(values))
	}
	packed := make([]uint16, len(values))
	if err := dev.Read(m, at, halfBytes(packed)); err != nil {
		return err
	}
	simd.Unpack(t.Format(), values, packed)
	return nil
}

func halfBytes(values []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 2*len(values))
}

// Room is the bytes that n elements of a type take in a buffer: whole words.
func Room(t shaders.Type, n int) int64 { return (t.Size()*int64(n) + 3) / 4 * 4 }
