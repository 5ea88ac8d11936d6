package chat

// shrink is how much shorter, in bytes, normalization can make a text: three
// conjoining letters of Hangul become one syllable, of three bytes like each.
const maxShrink = 3

// LeastTokens is a number of tokens that a turn has at the least: no token stands
// for more bytes than the longest one of the vocabulary. It is found without
// encoding, which for a text of many megabytes takes seconds and gigabytes.
func (e *Encoder) MinTokens(t Turn) int {
	size := len(t.User) + len(t.Assistant)
	return 1 + size/(maxShrink*max(1, e.longest)) // and the end of the turn
}

// ImageTokens is the number of tokens of so many images.
func (e *Encoder) ImageTokens(images int) int { return images * e.imageTokens }
