package checkpoint

import (
	"fmt"
	"math"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/pretrained"
)

// DivergedError reports non-finite values in the state of a run, which is not saved.
type DivergedError struct{ What string }

func (e *DivergedError) Error() string {
	return e.What + "; a lower --lr would help"
}

// FiniteOnly wraps values; it returns a *DivergedError if a value is NaN or infinite.
func FiniteOnly(values pretrained.TensorValues) pretrained.TensorValues {
	return func(from *engine.Buffer, p *nn.Param) ([]float32, error) {
		x, err := values(from, p)
		if err == nil && !AllFinite(x) {
			err = &DivergedError{fmt.Sprintf("%s has a value that is NaN or infinite", p.Name)}
		}
		return x, err
	}
}

// AllFinite reports whether no value is NaN or infinite.
func AllFinite(x []float32) bool {
	const exponent = 0x7f80_0000 // all ones: infinite or NaN
	for _, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return false
		}
	}
	return true
}
