package shaders

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"sync"
)

//go:embed spirv
var spirv embed.FS

// SPIRV returns the committed module of a variant.
func (k *Kernel) SPIRV(v *Variant) ([]byte, error) {
	module, err := spirv.ReadFile("spirv/" + k.ID(v) + ".spv")
	if err != nil {
		return nil, fmt.Errorf("kernel %s has no SPIR-V; run make shaders: %w", k.ID(v), err)
	}
	return module, nil
}

// Entry of spirv/manifest.json: which source a committed module was made from.
type ManifestEntry struct {
	Source string `json:"source"` // SHA-256 of the WGSL text
	Module string `json:"module"` // SHA-256 of the .spv file
}

// Manifest returns the committed manifest, by variant ID.
var Manifest = sync.OnceValues(func() (map[string]ManifestEntry, error) {
	data, err := spirv.ReadFile("spirv/manifest.json")
	if err != nil {
		return nil, err
	}
	m := map[string]ManifestEntry{}
	return m, json.Unmarshal(data, &m)
})

// Hash is the hex SHA-256 that the manifest uses.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func floatBits(f float32) uint32 { return math.Float32bits(f) }
