package naga

import "slices"

// SPIR-V opcodes and constants, section 3 of the specification.
const (
	opConstantNull       = 46
	opVariable           = 59
	opLoad               = 61
	opStore              = 62
	opCompositeConstruct = 80
	opCompositeExtract   = 81
	opISub               = 130
	opAll                = 155
	opSelect             = 169
	opIEqual             = 170
	opControlBarrier     = 224
	opSelectionMerge     = 247
	opLabel              = 248
	opBranch             = 249
	opBranchConditional  = 250

	storageClassWorkgroup = 4
	headerWords           = 5
)

// instruction is an opcode with its operands; the first word holds the number
// of words and the opcode.
type instruction []uint32

func (i instruction) opcode() uint32 { return i[0] & 0xffff }

func branch(label uint32) instruction { return instruction{2<<16 | opBranch, label} }

// trim removes what naga adds for untrusted shaders without a command line switch:
//
//   - a 64-bit count of iterations in every loop, which ends endless ones;
//   - the zeroing of workgroup memory, which naga lets one invocation do for
//     all of it. A kernel therefore writes workgroup memory before it reads it.
func trim(words []uint32) []uint32 {
	code := split(words[headerWords:])
	code = dropZeroing(dropLoopCounts(code))
	return append(slices.Clone(words[:headerWords]), slices.Concat(code...)...)
}

func split(words []uint32) []instruction {
	var code []instruction
	for len(words) > 0 {
		n := max(1, min(int(words[0]>>16), len(words)))
		code = append(code, words[:n])
		words = words[n:]
	}
	return code
}

// loopCount is naga's loop counter: leave the loop when both halves of the counter are
// zero, otherwise subtract one.
var loopCount = []uint32{
	opLoad, opIEqual, opAll, opSelectionMerge, opBranchConditional, opLabel,
	opCompositeExtract, opIEqual, opSelect, opCompositeConstruct, opISub, opStore,
}

// dropLoopCounts removes the counting and its variables.
func dropLoopCounts(code []instruction) []instruction {
	counters := map[uint32]bool{}
	var kept []instruction
	for i := 0; i < len(code); i++ {
		if !isLoopCount(code[i:]) {
			kept = append(kept, code[i])
			continue
		}
		counters[code[i][3]] = true
		body := code[i+5]
		kept = append(kept, branch(body[1]), body)
		i += len(loopCount) - 1
	}
	return slices.DeleteFunc(kept, func(c instruction) bool { return c.opcode() == opVariable && counters[c[2]] })
}

func isLoopCount(code []instruction) bool {
	if len(code) < len(loopCount) {
		return false
	}
	for i, op := range loopCount {
		if code[i].opcode() != op {
			return false
		}
	}
	load, store := code[0], code[len(loopCount)-1]
	return load[3] == store[1]
}

// dropZeroing removes the stores of zero to whole workgroup variables and the
// barrier that follows them.
func dropZeroing(code []instruction) []instruction {
	workgroup, null := map[uint32]bool{}, map[uint32]bool{}
	for _, c := range code {
		switch {
		case c.opcode() == opVariable && c[3] == storageClassWorkgroup:
			workgroup[c[2]] = true
		case c.opcode() == opConstantNull:
			null[c[2]] = true
		}
	}
	zeroed := false
	return slices.DeleteFunc(slices.Clone(code), func(c instruction) bool {
		switch {
		case c.opcode() == opStore && workgroup[c[1]] && null[c[2]]:
			zeroed = true
			return true
		case c.opcode() == opControlBarrier && zeroed:
			zeroed = false
			return true
		}
		return false
	})
}
