package engine

import "fmt"

// CheckBinding returns an error when the device cannot bind a view of memory of the given
// size. alignment is what the device requires of an offset; both are in bytes. Every
// backend that binds buffers calls it when it compiles.
func (i Info) CheckBinding(v View, r ResolvedView, size, alignment int64) error {
	limit := i.Limits.MaxBindingBytes
	switch {
	case r.Offset < 0 || r.Bytes < 0 || r.Offset > size-r.Bytes:
		return fmt.Errorf("buffer %q: bytes [%d,+%d) of memory of %d bytes", v.Buffer.Label, r.Offset, r.Bytes, size)
	case r.Bytes > limit:
		return fmt.Errorf("buffer %q has %s (%d bytes), but %s binds at most %s (%d bytes): %w", v.Buffer.Label,
			Bytes(r.Bytes), r.Bytes, i.Device, Bytes(limit), limit, ErrUnsupported)
	case r.Offset%alignment != 0:
		return fmt.Errorf("buffer %q is bound at offset %d, but %s requires a multiple of %d: %w", v.Buffer.Label,
			r.Offset, i.Device, alignment, ErrUnsupported)
	}
	return nil
}
