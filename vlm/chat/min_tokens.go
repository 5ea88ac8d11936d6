package chat

// maxShrink is the factor by which NFC normalization can shorten a text in bytes: three
// conjoining Hangul letters of three bytes each become one syllable of three bytes.
const maxShrink = 3

// MinTokens returns a lower bound on the number of tokens of a turn, from its size and the
// longest token of the vocabulary. It does not encode the turn, which for many megabytes of
// text takes seconds and gigabytes.
func (e *Encoder) MinTokens(t Turn) int {
	size := len(t.User) + len(t.Assistant)
	return 1 + size/(maxShrink*max(1, e.longest)) // 1 for the end of the turn
}
