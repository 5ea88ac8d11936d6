package usage

import "strings"

// Nearest is the known word with the smallest edit distance to the given one, else the
// first that begins with it; "" where all differ in more than a third of the letters.
func Nearest(word string, known []string) (found string) {
	word = strings.ToLower(word)
	limit := max(1, len([]rune(word))/3) + 1
	for _, k := range known {
		if d := editDistance([]rune(word), []rune(strings.ToLower(k))); d < limit {
			found, limit = k, d
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

// editDistance counts the insertions, deletions, substitutions and swaps of neighbours
// that turn a into b (optimal string alignment).
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
			substituted := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				substituted++
			}
			rows[i][j] = min(substituted, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// OneOf lists words: a, b or c.
func OneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
