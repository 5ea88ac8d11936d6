//go:build !amd64

package simd

// HasTiles reports whether TileProduct can run.
func HasTiles() bool { return false }

// Run panics: no processor of this kind has AMX.
func (TileProduct) Run() { panic("simd: no AMX") }
