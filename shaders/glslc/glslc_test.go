package glslc

import (
	"encoding/binary"
	"testing"
)

// TestParseVersion parses the versions in Debian's releases; the old one is an error.
func TestParseVersion(t *testing.T) {
	for _, c := range []struct{ name, out, want string }{
		{"bookworm", "shaderc 2023.2-1\nspirv-tools 2022.4+1.3.236.0-1\nglslang 11.13.0-1\n\nTarget: SPIR-V 1.0\n", ""},
		{"sid", "shaderc 2026.4-1\nspirv-tools \nglslang 16.4.0-1\n\nTarget: SPIR-V 1.0\n", "shaderc 2026.4-1, glslang 16.4.0-1"},
		{"built from source", "shaderc v2026.1 v2026.1\nspirv-tools v2026.1\nglslang 11.1.0-1500-gabc\n", ""},
		{"something else", "gcc 12\n", ""},
	} {
		got, err := parseVersion(c.out)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestStrip: names are removed, instructions stay, and anything but a module is an error.
func TestStrip(t *testing.T) {
	words := func(w ...uint32) []byte {
		var b []byte
		for _, v := range w {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	header := []uint32{magic, 0x10600, 0, 8, 0}
	named := words(append(header, 2<<16|17, 1, 3<<16|opName, 4, 0x6e69616d, 2<<16|19, 2)...)
	got, err := strip(named)
	if want := words(append(header, 2<<16|17, 1, 2<<16|19, 2)...); err != nil || string(got) != string(want) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
	for _, bad := range [][]byte{nil, []byte("not SPIR-V, but long enough"), words(append(header, 9<<16|17, 1)...)} {
		if _, err := strip(bad); err == nil {
			t.Errorf("%q was accepted as a module", bad)
		}
	}
}
