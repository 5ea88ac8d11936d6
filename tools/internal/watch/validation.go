package watch

import (
	"crypto/sha256"
	"encoding/hex"

	"patchwork/vlm/train"
)

// Validation has a run's answers on held-out rows.
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
	Images   []string `json:"pictures"` // keys of the images
}

// keepValidations and keepImages bound the memory of a long run. Validations use the same
// few images.
const (
	keepValidations = 100
	keepImages      = 64
)

// imageStore has PNGs by the hash of their content; order has the oldest first.
type imageStore struct {
	data  map[string][]byte
	order []string
}

func (p *imageStore) add(png []byte) (key string) {
	sum := sha256.Sum256(png)
	key = hex.EncodeToString(sum[:12])
	if p.data[key] != nil {
		return key
	}
	if p.data == nil {
		p.data = map[string][]byte{}
	}
	if len(p.order) == keepImages {
		delete(p.data, p.order[0])
		p.order = p.order[1:]
	}
	p.data[key], p.order = png, append(p.order, key)
	return key
}

// pngs are a sample's images as PNG; one that cannot be encoded is skipped.
func pngs(s train.Sample) (all [][]byte) {
	for n := range s.Images {
		if png, err := s.PNG(n); err == nil {
			all = append(all, png)
		}
	}
	return all
}

func (r *Run) validation(m train.ValMetrics) {
	var encoded [][][]byte
	for _, s := range m.Samples {
		encoded = append(encoded, pngs(s))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addValLoss(m)
	r.addValidation(m, encoded)
}

// earlier adds the validations before the resumed step. They use the same few rows, whose
// images are encoded once.
func (r *Run) earlier(all []train.ValMetrics) {
	byRow := map[int][][]byte{}
	for _, m := range all {
		r.addValLoss(m)
		var encoded [][][]byte
		for _, s := range m.Samples {
			if _, known := byRow[s.Row]; !known {
				byRow[s.Row] = pngs(s)
			}
			encoded = append(encoded, byRow[s.Row])
		}
		if len(encoded) > 0 { // versions without samples have none
			r.addValidation(m, encoded)
		}
	}
}

// addValidation keeps a validation's samples, with their images as PNGs, for the page.
func (r *Run) addValidation(m train.ValMetrics, encoded [][][]byte) {
	v := Validation{Step: m.Step, Loss: finite(m.ValLoss), Samples: []Sample{}}
	for i, s := range m.Samples {
		shown := Sample{Question: s.Question, Truth: s.Truth, Answer: s.Answer, Images: []string{}}
		for _, png := range encoded[i] {
			shown.Images = append(shown.Images, r.images.add(png))
		}
		v.Samples = append(v.Samples, shown)
	}
	if len(r.validations) == keepValidations {
		r.validations = append(r.validations[:0], r.validations[1:]...)
	}
	r.validations = append(r.validations, v)
}

// addValLoss adds a validation's loss, as in metrics.jsonl.
func (r *Run) addValLoss(m train.ValMetrics) {
	if r.state.ValLoss = finite(m.ValLoss); r.state.ValLoss != nil {
		r.curves.Val.Add(m.Step, m.ValLoss)
	}
}
