package vlm

import "patchwork/nn"

// AudioPrefix begins the names of the parameters of sound.
const AudioPrefix = "embed_audio."

// audioEmbedder turns frames of raw samples into vectors of the decoder's hidden size: a norm
// without weight and one matrix, as Gemma 4's embed_audio.
type audioEmbedder struct {
	eps        float32
	projection nn.Linear
}

func newAudioEmbedder(d nn.Declarer, c AudioConfig, init Init) audioEmbedder {
	return audioEmbedder{
		eps:        float32(c.RMSNormEps),
		projection: d.Linear(AudioPrefix+"embedding_projection", c.FrameSize, c.HiddenSize, false, init.linear(c.FrameSize)),
	}
}

// forward is frames [F, 640] → [F, D].
func (e *audioEmbedder) forward(g *nn.Graph, frames *nn.Tensor, trace Trace) *nn.Tensor {
	x := trace.keep(g, "audio.rms", g.RMSNorm(frames, nil, e.eps))
	return trace.keep(g, "audio.projection", e.projection.Forward(g, x))
}
