package simd

// The tiles of AMX: TileRows rows of 64 bytes, which are pairs of bf16 values or float32 sums.
const (
	TileRows = 16
	TilePair = 16           // pairs of terms a row of a tile of a, values a row of one of c
	TileStep = 2 * TilePair // terms that one product of tiles adds
	// TileGroup is the number of rows, and of columns, of c that are computed at a time.
	TileGroup = 2 * TileRows
)

// TileProduct is c += a·b for bf16 values, or c = a·b, by AMX (Intel's manual, volume 1, chapter 18).
// All strides count elements. Denormal values count as 0.
type TileProduct struct {
	Rows, Cols int // of c; Cols is at most TileGroup
	Steps      int // of TileStep terms
	A          *uint16
	// RowStride and StepStride are from row to row and step to step of a, GroupStride from a group of
	// TileRows rows to the next.
	RowStride, StepStride, GroupStride int
	// B has a row of TileGroup pairs for every pair of terms, as Tile.PairRows packs them.
	B   *uint32
	C   *float32
	LDC int
	Add bool
}

// tileConfig tells the processor the size of each tile (palette 1).
type tileConfig struct {
	palette  byte
	_        [15]byte // where to restart after an exception, and zeros
	rowBytes [16]uint16
	rows     [16]byte
}

// configure sets the tiles for rows and columns of c: 0 to 3 are of c, 4 and 5 of a, 6 and 7 of b.
func configure(rows, cols int) tileConfig {
	t := tileConfig{palette: 1}
	for i := range 2 {
		height := clamp(rows-i*TileRows, TileRows)
		for j := range 2 {
			if width := clamp(cols-j*TilePair, TilePair); height > 0 && width > 0 {
				t.set(2*i+j, height, width)
				t.set(4+i, height, TilePair)
				t.set(6+j, TilePair, width)
			}
		}
	}
	return t
}

func (t *tileConfig) set(tile, rows, values int) {
	t.rows[tile], t.rowBytes[tile] = byte(rows), uint16(4*values)
}

func clamp(n, most int) int { return max(0, min(n, most)) }
