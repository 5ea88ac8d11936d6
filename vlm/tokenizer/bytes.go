package tokenizer

// The byte-level alphabet of GPT-2 (encoder.py, bytes_to_unicode): printable bytes are
// represented by themselves, the others by the characters from U+0100 on.
var (
	byteChar [256]rune
	charByte = map[rune]byte{}
)

func init() {
	next := rune(256)
	for b := range 256 {
		c := rune(b)
		if b < '!' || b > '~' && b < '¡' || b == 0xAD {
			c, next = next, next+1
		}
		byteChar[b], charByte[c] = c, byte(b)
	}
}

// toByteLevel converts bytes to the byte-level alphabet: " the" to "Ġthe".
func toByteLevel(bytes string) string {
	out := make([]rune, len(bytes))
	for i := range len(bytes) {
		out[i] = byteChar[bytes[i]]
	}
	return string(out)
}
