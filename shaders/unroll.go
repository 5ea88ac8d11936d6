package shaders

import (
	"regexp"
	"strconv"
	"strings"
)

// Unroll unrolls the loops of a WGSL text with a small constant number of iterations and
// without break or continue. WebGPU's compiler must clamp indices except literals, and a
// driver keeps an array in registers only where the index of the loop over it is not
// clamped.
//
// Without it, matmul and attention_backward ran by WebGPU at 0.54 and 0.57 of Vulkan's
// speed on lavapipe, with it at 0.98 and 1.04.
func Unroll(text string) string {
	return unroll(text, smallConstants(text))
}

// maxUnroll is the largest number of iterations that are unrolled.
const maxUnroll = 4

var (
	loopHead     = regexp.MustCompile(`for \(var (\w+) = 0u; (\w+) < (\w+); (\w+) = (\w+) \+ (\w+)\) \{`)
	glslLoopHead = regexp.MustCompile(`\[\[unroll\]\] for \(uint (\w+) = 0u; \w+ < ((\w+)(?: / T[MNK])?); \+\+\w+\) \{`)
	loopLeave    = regexp.MustCompile(`\b(break|continue)\b`)
	constant     = regexp.MustCompile(`(?m)^const (\w+)(?:: u32)? = (\d+)u;`)
)

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

func smallConstants(text string) map[string]int {
	constants := map[string]int{}
	for _, m := range constant.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(m[2]); err == nil && n <= maxUnroll {
			constants[m[1]] = n
		}
	}
	for n := range maxUnroll + 1 {
		constants[strconv.Itoa(n)+"u"] = n
	}
	return constants
}

func unroll(text string, constants map[string]int) string {
	var w strings.Builder
	for {
		at := loopHead.FindStringSubmatchIndex(text)
		if at == nil {
			w.WriteString(text)
			return w.String()
		}
		group := func(i int) string { return text[at[2*i]:at[2*i+1]] }
		counter := group(1)
		bound, small := constants[group(3)]
		step := constants[group(6)]
		end := at[1] + closing(text[at[1]:])
		body := text[at[1]:end]
		w.WriteString(text[:at[0]])
		if !small || step == 0 || group(2) != counter || group(4) != counter || group(5) != counter || loopLeave.MatchString(body) {
			w.WriteString(text[at[0]:at[1]])
			text = text[at[1]:]
			continue
		}
		body = unroll(body, constants)
		for i := 0; i < bound; i += step {
			w.WriteString("{" + replaceName(body, counter, strconv.Itoa(i)+"u") + "}\n")
		}
		text = text[end+1:]
	}
}

// closing is the index of the brace that closes the block at whose start text begins.
func closing(text string) int {
	depth := 1
	for i, c := range text {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			return i
		}
	}
	return len(text) - 1
}

// replaceName replaces a variable, but not a component of the same name.
func replaceName(text, name, by string) string {
	return regexp.MustCompile(`(^|[^.\w])`+name+`\b`).ReplaceAllString(text, "${1}"+by)
}
