package eval

import "patchwork/vlm/score"

// CaptionResult compares the generated answers with the true ones word by word.
type CaptionResult struct {
	BLEU4  float64 `json:"bleu_4"`  // of the corpus, 0 to 1
	CIDErD float64 `json:"cider_d"` // mean, 0 to 10
}

type captionCount struct {
	answers []TurnResult
}

// finishCaptions scores the generated answers, each against its one reference, and passes them to
// Options.Answer.
func (e *evaluator) finishCaptions() *CaptionResult {
	if !e.Captions {
		return nil
	}
	var corpus []score.Caption
	for _, a := range e.captions.answers {
		corpus = append(corpus, score.Caption{Candidate: score.Words(a.Answer), References: [][]string{score.Words(a.Truth)}})
	}
	mean, each := score.CIDErD(corpus)
	if e.Answer != nil {
		for i, a := range e.captions.answers {
			a.CIDErD = each[i]
			e.Answer(a)
		}
	}
	return &CaptionResult{score.BLEU(corpus), mean}
}
