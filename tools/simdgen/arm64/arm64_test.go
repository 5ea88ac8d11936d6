package arm64

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEncodings disassembles every encoded instruction of the committed files by binutils, which
// must give the text beside it.
func TestEncodings(t *testing.T) {
	const objdump = "aarch64-linux-gnu-objdump"
	if _, err := exec.LookPath(objdump); err != nil {
		t.Skip("needs binutils-aarch64-linux-gnu (apt-get install binutils-aarch64-linux-gnu)")
	}
	var files []string
	for _, dir := range []string{"shaders/simd", "shaders/quant/simd"} {
		found, err := filepath.Glob("../../../" + dir + "/*_arm64.s")
		if err != nil || len(found) == 0 {
			t.Fatal(dir, ": no assembly: ", err)
		}
		files = append(files, found...)
	}
	texts := map[uint32]string{}
	line := regexp.MustCompile(`WORD \$0x([0-9a-f]{8}) // (.*)`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(data), -1) {
			texts[parseHex(m[1])] = m[2]
		}
	}
	checkDisassembly(t, objdump, texts)
}

func parseHex(s string) (v uint32) {
	for _, c := range s {
		v = v<<4 | uint32(strings.IndexRune("0123456789abcdef", c))
	}
	return v
}

func checkDisassembly(t *testing.T, objdump string, texts map[uint32]string) {
	t.Helper()
	var code []byte
	for w := range texts {
		code = append(code, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^\s*[0-9a-f]+:\s+([0-9a-f]{8})\s+(.*)$`).FindAllStringSubmatch(string(out), -1) {
		seen++
		if got, want := strings.Join(strings.Fields(m[2]), " "), texts[parseHex(m[1])]; got != want {
			t.Errorf("%s is %q, not %q", m[1], got, want)
		}
	}
	if seen != len(texts) {
		t.Errorf("%d instructions of %d were disassembled", seen, len(texts))
	}
}

// TestRegisters checks that a vector's register is given away only after its last use, and that a
// pinned one's is not.
func TestRegisters(t *testing.T) {
	f := (&File{}).Function("f", "func(x *float32)", "f tests.")
	x := f.Param("x")
	kept := f.Pinned()
	f.Zero(kept)
	a, b, c := f.Vec(), f.Vec(), f.Vec()
	f.Load(Four, a, x, 0)
	f.Load(Four, b, x, 16)
	f.FADD(c, a, b) // a and b end here
	f.FMLA(kept, c, c)
	d := f.Vec()
	f.Load(Four, d, x, 32)
	f.Store(Four, d, x, 0)
	f.Return()
	want := []string{
		"\tMOVD x+0(FP), R0", "\tWORD $0x6f00e400 // movi v0.2d, #0x0", "\tFMOVQ (R0), F1", "\tFMOVQ 16(R0), F2",
		"\tWORD $0x4e22d421 // fadd v1.4s, v1.4s, v2.4s", "\tVFMLA V1.S4, V1.S4, V0.S4",
		"\tFMOVQ 32(R0), F1", "\tFMOVQ F1, (R0)", "\tRET",
	}
	if got := strings.Join(f.text, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestVectorsEndAtBranches checks that reading a vector behind a label is an error of the generator:
// another way may lead there.
func TestVectorsEndAtBranches(t *testing.T) {
	f := (&File{}).Function("f", "func(x *float32)", "f tests.")
	x, a := f.Param("x"), f.Vec()
	f.Load(Four, a, x, 0)
	f.Label("here")
	defer func() {
		if recover() == nil {
			t.Error("a vector was read behind a label")
		}
	}()
	f.Store(Four, a, x, 0)
	f.Return()
}
