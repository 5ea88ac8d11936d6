package score

import "math"

// precision returns the modified n-gram precision as a fraction: the candidate's n-grams
// that also occur in a reference, each clipped to its maximum count in a single reference, of
// all its n-grams.
func (c Caption) precision(n int) (matched, total int) {
	maxCounts := map[string]int{}
	for _, r := range c.References {
		for g, count := range grams(r, n) {
			maxCounts[g] = max(maxCounts[g], count)
		}
	}
	for g, count := range grams(c.Candidate, n) {
		matched += min(count, maxCounts[g])
		total += count
	}
	return matched, total
}

// closest returns the reference length closest to the candidate's, the shorter of two equally
// close ones.
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

// BLEU returns the corpus BLEU score, from 0 to 1, with n-grams of up to four words, uniform
// weights and the brevity penalty. It is 0 if n-grams of some length have no match.
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
