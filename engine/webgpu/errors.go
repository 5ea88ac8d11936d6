package webgpu

// ValidationError is a validation error of the library, with its message.
type ValidationError struct {
	Device, Message string
}

func (e *ValidationError) Error() string { return e.Device + ": " + e.Message }
