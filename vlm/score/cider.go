package score

import (
	"maps"
	"math"
	"slices"
)

// sigma is the standard deviation, in words, of CIDEr-D's Gaussian length penalty.
const sigma = 6

// CIDErD returns the CIDEr-D score of each caption and their mean: ten times the cosine
// similarity of TF-IDF-weighted n-grams, with the candidate's weights clipped to the
// reference's. A corpus of one caption scores 0, since all IDF weights are 0.
func CIDErD(captions []Caption) (mean float64, each []float64) {
	if len(captions) == 0 {
		return 0, nil
	}
	each = make([]float64, len(captions))
	for n := 1; n <= Order; n++ {
		weight := idf(captions, n)
		for i, c := range captions {
			candidate := vector(c.Candidate, n, weight)
			var sum float64
			for _, r := range c.References {
				d := float64(len(c.Candidate) - len(r))
				sum += math.Exp(-d*d/(2*sigma*sigma)) * clippedCosine(candidate, vector(r, n, weight))
			}
			each[i] += 10 * sum / float64(Order*max(1, len(c.References)))
		}
	}
	for _, s := range each {
		mean += s / float64(len(each))
	}
	return mean, each
}

// idf returns the function of inverse document frequencies of n-grams. A document is all
// references of a caption.
func idf(captions []Caption, n int) func(gram string) float64 {
	documents := map[string]int{}
	for _, c := range captions {
		seen := map[string]bool{}
		for _, r := range c.References {
			for g := range grams(r, n) {
				seen[g] = true
			}
		}
		for g := range seen {
			documents[g]++
		}
	}
	all := math.Log(float64(len(captions)))
	return func(g string) float64 { return all - math.Log(float64(max(1, documents[g]))) }
}

// vector returns the TF-IDF weights of a caption's n-grams, sorted by n-gram so that sums are
// reproducible.
func vector(words []string, n int, idf func(string) float64) []weighted {
	counts := grams(words, n)
	var v []weighted
	for _, g := range slices.Sorted(maps.Keys(counts)) {
		v = append(v, weighted{g, float64(counts[g]) * idf(g)})
	}
	return v
}

type weighted struct {
	gram   string
	weight float64
}

// clippedCosine returns the cosine similarity with the candidate clipped to the reference.
func clippedCosine(candidate, reference []weighted) float64 {
	of := map[string]float64{}
	var dot, c2, r2 float64
	for _, r := range reference {
		of[r.gram] = r.weight
		r2 += r.weight * r.weight
	}
	for _, c := range candidate {
		dot += math.Min(c.weight, of[c.gram]) * of[c.gram]
		c2 += c.weight * c.weight
	}
	if c2 == 0 || r2 == 0 {
		return 0
	}
	return dot / math.Sqrt(c2*r2)
}
