package shaders

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

//go:embed spirv/manifest.json
var manifestJSON []byte

// Manifest is spirv/manifest.json: the sources of the committed modules.
type Manifest struct {
	Generator string            `json:"generator"` // "tools/shadergen"
	Compiler  string            `json:"compiler"`  // "naga 30.0.1"
	GLSL      string            `json:"glsl"`      // of the .comp files: "shaderc 2026.4-1, glslang 16.4.0-1"
	Modules   map[string]Module `json:"modules"`   // by variant ID
}

// Module is the manifest's entry of one variant.
type Module struct {
	Source string `json:"source"` // SHA-256 of the WGSL or GLSL text
	Module string `json:"module"` // SHA-256 of the .spv file

	Requires Requirements `json:"requires"`
}

// ReadManifest returns the committed manifest.
func ReadManifest() (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(manifestJSON, &m); err != nil {
		return Manifest{}, fmt.Errorf("shaders/spirv/manifest.json: %w", err)
	}
	return m, nil
}

// Hash is the hex SHA-256 that the manifest uses.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
