package watch

import (
	"crypto/sha256"
	"encoding/hex"

	"patchwork/vlm"
)

// Validation is what a run said about held-out rows.
type Validation struct {
	Step    int      `json:"step"`
	Loss    *float64 `json:"loss"`
	Samples []Sample `json:"samples"`
}

// Sample is a question with the model's answer.
type Sample struct {
	Question string   `json:"question"`
	Truth    string   `json:"truth"`
	Answer   string   `json:"answer"`
	Pictures []string `json:"pictures"` // their keys
}

// keepValidations and keepPictures bound what a long run piles up. A run asks
// about the same few pictures again and again.
const (
	keepValidations = 100
	keepPictures    = 64
)

// pictures are PNGs by the hash of their contents, oldest first in order.
type pictures struct {
	data  map[string][]byte
	order []string
}

func (p *pictures) add(png []byte) (key string) {
	sum := sha256.Sum256(png)
	key = hex.EncodeToString(sum[:12])
	if p.data[key] != nil {
		return key
	}
	if p.data == nil {
		p.data = map[string][]byte{}
	}
	if len(p.order) == keepPictures {
		delete(p.data, p.order[0])
		p.order = p.order[1:]
	}
	p.data[key], p.order = png, append(p.order, key)
	return key
}

// pngs are a sample's pictures. One that cannot be encoded is left out.
func pngs(s vlm.Sample) (all [][]byte) {
	for n := range s.Pictures {
		if png, err := s.PNG(n); err == nil {
			all = append(all, png)
		}
	}
	return all
}

func (r *Run) validation(m vlm.ValMetrics) {
	var encoded [][][]byte
	for _, s := range m.Samples {
		encoded = append(encoded, pngs(s))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.validated(m)
	r.show(m, encoded)
}

// earlier takes the validations that a resumed run has behind it. They ask about the
// same few rows, whose pictures are encoded once.
func (r *Run) earlier(all []vlm.ValMetrics) {
	byRow := map[int][][]byte{}
	for _, m := range all {
		r.validated(m)
		var encoded [][][]byte
		for _, s := range m.Samples {
			if _, known := byRow[s.Row]; !known {
				byRow[s.Row] = pngs(s)
			}
			encoded = append(encoded, byRow[s.Row])
		}
		if len(encoded) > 0 { // else a version wrote it that kept none
			r.show(m, encoded)
		}
	}
}

// show keeps a validation's samples, whose pictures are PNGs, for the page.
func (r *Run) show(m vlm.ValMetrics, encoded [][][]byte) {
	v := Validation{Step: m.Step, Loss: known(m.ValLoss), Samples: []Sample{}}
	for i, s := range m.Samples {
		shown := Sample{Question: s.Question, Truth: s.Truth, Answer: s.Answer, Pictures: []string{}}
		for _, png := range encoded[i] {
			shown.Pictures = append(shown.Pictures, r.pictures.add(png))
		}
		v.Samples = append(v.Samples, shown)
	}
	if len(r.validations) == keepValidations {
		r.validations = append(r.validations[:0], r.validations[1:]...)
	}
	r.validations = append(r.validations, v)
}

// validated takes what metrics.jsonl holds of a validation too.
func (r *Run) validated(m vlm.ValMetrics) {
	if r.state.ValLoss = known(m.ValLoss); r.state.ValLoss != nil {
		r.curves.Val.Add(m.Step, m.ValLoss)
	}
}
