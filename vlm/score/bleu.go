package score

import "math"

// precision is the modified n-gram precision: how many of the candidate's
// n-grams some reference has too, each counted at most as often as in the
// reference that has it most often.
func (c Caption) precision(n int) (matched, total int) {
	most := map[string]int{}
	for _, r := range c.References {
		for g, count := range grams(r, n) {
			most[g] = max(most[g], count)
		}
	}
	for g, count := range grams(c.Candidate, n) {
		matched += min(count, most[g])
		total += count
	}
	return matched, total
}

// closest is the length of the reference nearest to the candidate's, the shorter
// of two equally near.
func (c Caption) closest() int {
	best, length := math.MaxInt, 0
	for _, r := range c.References {
		d := len(r) - len(c.Candidate)
		if d < 0 {
			d = -d
		}
		if d < best || d == best && len(r) < length {
			best, length = d, len(r)
		}
	}
	return length
}

// BLEU is the corpus score with n-grams of up to four words, uniform weights and
// the brevity penalty, from 0 to 1. Without a match of any length it is 0.
func BLEU(captions []Caption) float64 {
	var logs float64
	candidate, reference := 0, 0
	for _, c := range captions {
		candidate += len(c.Candidate)
		reference += c.closest()
	}
	for n := 1; n <= Order; n++ {
		matched, total := 0, 0
		for _, c := range captions {
			m, t := c.precision(n)
			matched, total = matched+m, total+t
		}
		if matched == 0 {
			return 0
		}
		logs += math.Log(float64(matched) / float64(total))
	}
	penalty := math.Min(0, 1-float64(reference)/float64(candidate))
	return math.Exp(logs/Order + penalty)
}
