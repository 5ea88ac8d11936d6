package main

import "strings"

// didYouMean suggests what a word was meant to be, where something is near enough;
// otherwise it lists what there is, unless that is much.
func didYouMean(word string, known []string, prefix string) string {
	if near := nearest(word, known); near != "" {
		return "; did you mean " + prefix + near + "?"
	}
	if len(known) > 8 {
		return ""
	}
	return "; there is " + oneOf(known)
}

// nearest is the known word that differs from the given one in the fewest letters,
// "" where all differ in more than a third of them.
func nearest(word string, known []string) (found string) {
	word = strings.ToLower(word)
	least := max(1, len([]rune(word))/3) + 1
	for _, k := range known {
		if d := editDistance([]rune(word), []rune(strings.ToLower(k))); d < least {
			found, least = k, d
		}
	}
	if found != "" || len(word) < 3 {
		return found
	}
	for _, k := range known {
		if strings.HasPrefix(k, word) {
			return k
		}
	}
	return ""
}

// editDistance is how many letters must be put in, left out, replaced or exchanged
// with their neighbour to make b of a (optimal string alignment).
func editDistance(a, b []rune) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// oneOf lists words: a, b or c.
func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
