package nn

// Linear is a weight [O,I], an optional bias [O] and an optional adapter.
type Linear struct {
	Weight, Bias *Param
	Adapter      *LoRA
}

// Forward computes x·wᵀ + bias.
func (l Linear) Forward(g *Graph, x *Tensor) *Tensor { return l.ForwardAdd(g, x, nil) }

// ForwardAdd computes x·wᵀ + bias + residual.
func (l Linear) ForwardAdd(g *Graph, x, residual *Tensor) *Tensor {
	var bias *Tensor
	if l.Bias != nil {
		bias = g.Param(l.Bias)
	}
	if l.Adapter != nil {
		return g.linearLoRA(x, g.Param(l.Weight), bias, residual, l.Adapter)
	}
	return g.Linear(x, g.Param(l.Weight), bias, residual)
}

// LayerNorm is a scale and a shift [C].
type LayerNorm struct {
	Weight, Bias *Param
	Eps          float32
}

// Forward normalises the last axis.
func (l LayerNorm) Forward(g *Graph, x *Tensor) *Tensor {
	return g.LayerNorm(x, g.Param(l.Weight), g.Param(l.Bias), l.Eps)
}

// ForwardFloat32 is Forward with a result in 32 bits.
func (l LayerNorm) ForwardFloat32(g *Graph, x *Tensor) *Tensor {
	return g.LayerNormFloat32(x, g.Param(l.Weight), g.Param(l.Bias), l.Eps)
}

// RMSNorm is a scale [C], nil for none.
type RMSNorm struct {
	Weight *Param
	Eps    float32
}

// Forward normalises the last axis.
func (l RMSNorm) Forward(g *Graph, x *Tensor) *Tensor {
	if l.Weight == nil {
		return g.RMSNorm(x, nil, l.Eps)
	}
	return g.RMSNorm(x, g.Param(l.Weight), l.Eps)
}

// ForwardAdd is Forward added to a residual, in 32 bits.
func (l RMSNorm) ForwardAdd(g *Graph, x, residual *Tensor) *Tensor {
	return g.RMSNormAdd(x, g.Param(l.Weight), residual, l.Eps)
}

// Declarer declares the parameters of one learning-rate group and block.
type Declarer struct {
	Params *Params
	Group  string
	Block  string // see Param.Block; "" = none
}

// Linear declares a Linear layer whose weight starts as init.
func (d Declarer) Linear(name string, in, out int, bias bool, init Init) Linear {
	l := Linear{Weight: d.Matrix(name+".weight", out, in, true, init)}
	if bias {
		l.Bias = d.vector(name+".bias", out, 0)
	}
	return l
}

// LayerNorm declares a LayerNorm.
func (d Declarer) LayerNorm(name string, cols int, eps float32) LayerNorm {
	return LayerNorm{d.vector(name+".weight", cols, 1), d.vector(name+".bias", cols, 0), eps}
}

// RMSNorm declares an RMSNorm.
func (d Declarer) RMSNorm(name string, cols int, eps float32) RMSNorm {
	return RMSNorm{d.vector(name+".weight", cols, 1), eps}
}

// Matrix declares a matrix that matmuls read or tokens are looked up in.
func (d Declarer) Matrix(name string, rows, cols int, decay bool, init Init) *Param {
	return d.Params.Add(&Param{Name: name, Shape: []int{rows, cols}, Group: d.Group, Block: d.Block, Decay: decay, Init: init, MatmulWeight: true})
}

// Table declares a matrix whose rows are added to activations.
func (d Declarer) Table(name string, rows, cols int, init Init) *Param {
	return d.Params.Add(&Param{Name: name, Shape: []int{rows, cols}, Group: d.Group, Block: d.Block, Init: init})
}

func (d Declarer) vector(name string, n int, value float64) *Param {
	return d.Params.Add(&Param{Name: name, Shape: []int{n}, Group: d.Group, Block: d.Block, Init: Init{Mean: value}})
}
