// Package naga compiles WGSL to SPIR-V with the naga command, for the
// developers who change a shader: the modules themselves are committed, so that
// users need no shader compiler.
package naga

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// options of the naga command. SPIR-V 1.3 is what Vulkan 1.1 reads; compaction
// drops the generated load and store functions that a shader does not call.
var options = []string{"--compact", "--spirv-version", "1.3", "--index-bounds-check-policy"}

// Version names the compiler, "naga 30.0.1", or fails when it is not installed.
func Version() (string, error) {
	out, err := exec.Command("naga", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("the naga command (cargo install naga-cli) is needed to compile shaders: %w", err)
	}
	return "naga " + strings.TrimSpace(string(out)), nil
}

// Compile turns WGSL text into a SPIR-V module, without naga's guards against untrusted
// shaders (see trim). Where spirv-val is installed, it validates the result. Indices are
// not clamped: the kernels check their own, once.
func Compile(wgsl string) ([]byte, error) { return compile(wgsl, "Unchecked") }

// CompileBounded is Compile for shaders that may be wrong: accesses are clamped to their
// bindings.
func CompileBounded(wgsl string) ([]byte, error) { return compile(wgsl, "Restrict") }

func compile(wgsl, indices string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "naga")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, module := filepath.Join(dir, "shader.wgsl"), filepath.Join(dir, "shader.spv")
	if err := os.WriteFile(source, []byte(wgsl), 0o600); err != nil {
		return nil, err
	}
	if err := run("naga", slices.Concat([]string{source, module}, options, []string{indices})...); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(module)
	if err != nil {
		return nil, err
	}
	words, err := decode(raw)
	if err != nil {
		return nil, err
	}
	trimmed := encode(trim(words))
	if err := os.WriteFile(module, trimmed, 0o600); err != nil {
		return nil, err
	}
	if err := run("spirv-val", "--target-env", "vulkan1.1", module); err != nil && !errors.Is(err, exec.ErrNotFound) {
		return nil, err
	}
	return trimmed, nil
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

func decode(module []byte) ([]uint32, error) {
	const magic = 0x07230203
	words := make([]uint32, len(module)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(module[4*i:])
	}
	if len(words) < headerWords || words[0] != magic {
		return nil, errors.New("naga wrote something that is not SPIR-V")
	}
	return words, nil
}

func encode(words []uint32) []byte {
	module := make([]byte, 0, 4*len(words))
	for _, w := range words {
		module = binary.LittleEndian.AppendUint32(module, w)
	}
	return module
}
