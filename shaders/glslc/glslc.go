// Package glslc compiles GLSL to SPIR-V with the glslc command, for the developers who
// change a shader that WGSL cannot express: the modules themselves are committed, so that
// users need no shader compiler.
package glslc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// variable is the environment variable with the command that runs glslc, with arguments
// where it is in a chroot: "chroot /srv/sid glslc".
const variable = "PATCHWORK_GLSLC"

// needed is the first major version of glslang with cooperative matrices of workgroups
// and of bfloat16: older ones drop what they do not support, without an error.
const needed = 16

// options of the glslc command. No optimiser: it does not support cooperative matrices.
var options = []string{"-fshader-stage=compute", "--target-env=vulkan1.3", "--target-spv=spv1.6", "-O0", "-", "-o", "-"}

// command is the command line of glslc.
func command() []string {
	if words := strings.Fields(os.Getenv(variable)); len(words) > 0 {
		return words
	}
	return []string{"glslc"}
}

// Version names the compiler, "shaderc 2026.4-1, glslang 16.4.0-1", or fails when
// there is none that is new enough.
func Version() (string, error) {
	out, err := run(nil, "--version")
	if err != nil {
		return "", fmt.Errorf("glslc with glslang %d or newer (Debian: package glslc, of trixie's successors) is needed to compile .comp shaders; %s=COMMAND names one: %w", needed, variable, err)
	}
	return parseVersion(string(out))
}

var versionLine = regexp.MustCompile(`(?m)^(shaderc|glslang) v?((\d+)\S*)`)

func parseVersion(out string) (string, error) {
	var names []string
	newest := 0
	for _, m := range versionLine.FindAllStringSubmatch(out, -1) {
		names = append(names, m[1]+" "+m[2])
		if m[1] == "glslang" {
			newest, _ = strconv.Atoi(m[3])
		}
	}
	if newest < needed {
		return "", fmt.Errorf("glslc is %s, glslang %d or newer is needed: older ones drop bfloat16 and cooperative matrices of workgroups silently; %s=COMMAND names another glslc", strings.Join(names, ", "), needed, variable)
	}
	return strings.Join(names, ", "), nil
}

// Compile turns GLSL text into a SPIR-V module without names. Where spirv-val is
// installed beside glslc, it validates the result.
func Compile(glsl string) ([]byte, error) {
	raw, err := run([]byte(glsl), options...)
	if err != nil {
		return nil, err
	}
	module, err := strip(raw)
	if err != nil {
		return nil, err
	}
	return module, validate(module)
}

// validate runs the spirv-val beside glslc: the system's own may be too old for the
// extensions.
func validate(module []byte) error {
	words := command()
	words[len(words)-1] = strings.TrimSuffix(words[len(words)-1], "glslc") + "spirv-val"
	_, err := start(words, module, "--target-env", "vulkan1.3")
	var exit *exec.ExitError
	if missing := 127; errors.As(err, &exit) && exit.ExitCode() == missing || errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	return err
}

func run(input []byte, args ...string) ([]byte, error) { return start(command(), input, args...) }

func start(words []string, input []byte, args ...string) ([]byte, error) {
	cmd := exec.Command(words[0], append(words[1:len(words):len(words)], args...)...)
	cmd.Stdin = bytes.NewReader(input)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out.Bytes(), nil
}

// Opcodes of the SPIR-V specification, section 3.52, that only debuggers read.
const (
	opSourceContinued = 2
	opModuleProcessed = 330
	opName            = 5
	opMemberName      = 6
	opSource          = 3
	opSourceExtension = 4
	opString          = 7
	magic             = 0x07230203
	headerWords       = 5
)

// strip drops names and sources.
func strip(module []byte) ([]byte, error) {
	damaged := errors.New("glslc wrote something that is not SPIR-V")
	if len(module) < 4*headerWords || len(module)%4 != 0 || binary.LittleEndian.Uint32(module) != magic {
		return nil, damaged
	}
	kept := bytes.Clone(module[:4*headerWords])
	for at := 4 * headerWords; at < len(module); {
		word := binary.LittleEndian.Uint32(module[at:])
		length := 4 * int(word>>16)
		if length == 0 || at+length > len(module) {
			return nil, damaged
		}
		switch word & 0xffff {
		case opSourceContinued, opSource, opSourceExtension, opName, opMemberName, opString, opModuleProcessed:
		default:
			kept = append(kept, module[at:at+length]...)
		}
		at += length
	}
	return kept, nil
}
