package score

import (
	"maps"
	"math"
	"slices"
)

// sigma is the width in words of CIDEr-D's penalty on lengths that differ.
const sigma = 6

// CIDErD is the mean of the captions' CIDEr-D scores and those scores: n-grams
// weighted by how rare they are among the corpus' references, cosines with the
// candidate's weights clipped to the reference's, times ten. A corpus of one
// caption has no rare n-grams and scores 0.
func CIDErD(captions []Caption) (mean float64, each []float64) {
	if len(captions) == 0 {
		return 0, nil
	}
	each = make([]float64, len(captions))
	for n := 1; n <= Order; n++ {
		rarity := rarities(captions, n)
		for i, c := range captions {
			candidate := weigh(c.Candidate, n, rarity)
			var sum float64
			for _, r := range c.References {
				d := float64(len(c.Candidate) - len(r))
				sum += math.Exp(-d*d/(2*sigma*sigma)) * clippedCosine(candidate, weigh(r, n, rarity))
			}
			each[i] += 10 * sum / float64(Order*max(1, len(c.References)))
		}
	}
	for _, s := range each {
		mean += s / float64(len(each))
	}
	return mean, each
}

// rarities returns the inverse document frequency of an n-gram: how few captions
// have it in a reference.
func rarities(captions []Caption, n int) func(gram string) float64 {
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

// weigh is a caption's vector of n-gram weights, sorted by n-gram so that sums
// have one order.
func weigh(words []string, n int, rarity func(string) float64) []weighted {
	counts := grams(words, n)
	var v []weighted
	for _, g := range slices.Sorted(maps.Keys(counts)) {
		v = append(v, weighted{g, float64(counts[g]) * rarity(g)})
	}
	return v
}

type weighted struct {
	gram   string
	weight float64
}

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
