// Package nn is a thin autograd layer over the engine: operators record their
// forward kernels into a program and put their backward on a tape, layers hold
// parameters, and AdamW updates them. Recording needs no device.
package nn

import (
	"fmt"

	"patchwork/engine"
	"patchwork/shaders"
	"patchwork/shaders/quant"
)

// Tensor is a row-major array in a recording, of 4-byte elements or of 16-bit floats.
// Tensors that share storage (a reshape) share their gradient.
type Tensor struct {
	Shape []int
	node  *node
}

// node is the storage of tensors.
type node struct {
	name      string
	view      engine.View
	half      engine.View   // of a parameter: its copy in Params.Half
	rounded   bool          // half is rounded to a block format, and read wherever it can be
	format    *quant.Format // of a quantised parameter
	rows      shaders.Count // leading rows in use, in units of rowSize elements
	rowSize   int
	needsGrad bool

	grad    engine.View
	written bool // the gradient holds a value that further ones are added to
	// ownsGrad: no other node may take over the gradient's storage, because it is read
	// after the run or is the caller's.
	ownsGrad bool
	// parts are the parameters that a fused one is made of; it shares their gradients.
	parts []*node
	// gradFeedsMatmul: a matmul of the backward pass reads the gradient. halfGrad is that
	// gradient in 16 bits, where the kernel that wrote it last wrote a copy.
	gradFeedsMatmul bool
	halfGrad        engine.View
}

// Size is the number of elements.
func (t *Tensor) Size() int { return size(t.Shape) }

// Cols is the length of the last axis.
func (t *Tensor) Cols() int { return t.Shape[len(t.Shape)-1] }

// View is where the elements are.
func (t *Tensor) View() engine.View { return t.node.view }

// Name is the tensor's name in checkpoints and traces.
func (t *Tensor) Name() string { return t.node.name }

// rows counts the rows of the last axis: all, or with RowCount as many as the step block
// gives. If the last axis has been reshaped, to the heads of a token for example, all rows
// count; with gradients that is an error, since they would sum the rows not in use.
func (t *Tensor) rows() shaders.Count {
	n := t.Size() / t.Cols()
	if t.node.rows.Slot == 0 || t.Cols() != t.node.rowSize && !t.node.needsGrad {
		return shaders.N(n)
	}
	if t.Cols() != t.node.rowSize {
		panic(&ShapeError{Op: "rows of " + t.node.name, Got: t.Shape, Want: fmt.Sprintf("a last axis of %d", t.node.rowSize)})
	}
	return t.node.rows
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// ShapeError is an operator called with shapes that do not fit.
type ShapeError struct {
	Op   string
	Got  any
	Want string
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("%s: got shape %v, want %s", e.Op, e.Got, e.Want)
}

// check panics with a *ShapeError, which Record turns into an error.
func check(ok bool, op string, want string, got ...*Tensor) {
	if ok {
		return
	}
	shapes := make([][]int, len(got))
	for i, t := range got {
		if t != nil {
			shapes[i] = t.Shape
		}
	}
	panic(&ShapeError{Op: op, Got: shapes, Want: want})
}
