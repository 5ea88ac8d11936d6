package nn

import "patchwork/engine"

// Variable is an Input whose gradient is wanted.
func (g *Graph) Variable(b *engine.Buffer, shape ...int) *Tensor {
	t := Input(b, shape...)
	t.node.needsGrad = true
	return t
}

// KeepGrad makes a tensor's gradient readable after the program has run. It is called
// before Backward; Grad then returns where the gradient is.
func (g *Graph) KeepGrad(t *Tensor) { t.node.ownsGrad = true }

// Grad is where a tensor's gradient is after Backward, the zero View if it has none. The
// gradient of a temporary tensor can be read after the run only with KeepGrad.
func (g *Graph) Grad(t *Tensor) engine.View {
	if t.node.ownsGrad && t.node.grad.Buffer != nil && t.node.grad.Buffer.Temporary() {
		g.Program.Keep(t.node.grad.Buffer)
	}
	return t.node.grad
}

// writeGrads sets a parameter's gradient.
func (s *Params) writeGrads(dev engine.Device, p *Param, values []float32) error {
	return engine.UploadFloats(dev, s.view(s.Grads, p), values)
}
