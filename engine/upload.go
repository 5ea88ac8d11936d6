package engine

import (
	"fmt"
	"unsafe"
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
