package checkpoint

import (
	"fmt"
	"math"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm/pretrained"
)

// DivergedError says that a run's numbers are none any more, so that its checkpoints are
// left as they are.
type DivergedError struct{ What string }

func (e *DivergedError) Error() string {
	return e.What + "; a lower --lr would help"
}

// FiniteOnly is values; it fails with a *DivergedError where one is NaN or infinite.
func FiniteOnly(values pretrained.TensorValues) pretrained.TensorValues {
	return func(from *engine.Buffer, p *nn.Param) ([]float32, error) {
		x, err := values(from, p)
		if err == nil && !AllFinite(x) {
			err = &DivergedError{fmt.Sprintf("%s has become infinite or no number", p.Name)}
		}
		return x, err
	}
}

func AllFinite(x []float32) bool {
	const exponent = 0x7f80_0000 // all ones: infinite, or no number
	for _, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return false
		}
	}
	return true
}
