package shaders

import (
	"regexp"
	"strconv"
	"strings"
)

var glslLoopHead = regexp.MustCompile(`\[\[unroll\]\] for \(uint (\w+) = 0u; \w+ < ((\w+)(?: / T[MNK])?); \+\+\w+\) \{`)

// unrollGLSL unrolls the loops of a GLSL text that say [[unroll]] and whose number of
// iterations is a literal or one of the constants, or that divided by the TM, TN or TK of
// the device's matrices: then for the smallest, 8, with conditions on a specialisation
// constant. Arrays of cooperative matrices are then indexed by literals: a compiler that
// decides before it unrolls whether an array fits into registers (Mesa does) would put
// large ones into memory.
func unrollGLSL(text string, constants map[string]uint32) string {
	var w strings.Builder
	for {
		at := glslLoopHead.FindStringSubmatchIndex(text)
		if at == nil {
			w.WriteString(text)
			return w.String()
		}
		counter, bound, number := text[at[2]:at[3]], text[at[4]:at[5]], text[at[6]:at[7]]
		n, known := constants[number]
		if literal, err := strconv.ParseUint(strings.TrimSuffix(number, "u"), 10, 8); err == nil {
			n, known = uint32(literal), true
		}
		w.WriteString(text[:at[0]])
		if !known {
			w.WriteString(text[at[0]:at[1]])
			text = text[at[1]:]
			continue
		}
		end := at[1] + closing(text[at[1]:])
		body := unrollGLSL(text[at[1]:end], constants)
		condition := ""
		if bound != number {
			n, condition = n/minMatrixSide, "if ("+counter+" < "+bound+") "
		}
		for i := range n {
			w.WriteString(replaceName(condition+"{"+body+"} ", counter, strconv.Itoa(int(i))+"u"))
		}
		text = text[end+1:]
	}
}
