package arm64

import "fmt"

// Width is how much of a vector an instruction moves; what a load leaves out becomes 0.
type Width string

// The widths: 1, 2 and 4 float32 values.
const (
	One  Width = "FMOVS"
	Two  Width = "FMOVD"
	Four Width = "FMOVQ"
)

// Load loads from base + offset bytes.
func (f *Function) Load(w Width, d *V, base R, offset int) { f.load(string(w), d, at(base, offset)) }

// LoadNext loads from base, which then advances by some bytes.
func (f *Function) LoadNext(w Width, d *V, base R, advance int) {
	f.load(string(w)+".P", d, fmt.Sprintf("%d(%s)", advance, base))
}

// LoadIndex loads from base + index bytes.
func (f *Function) LoadIndex(w Width, d *V, base, index R) {
	f.load(string(w), d, fmt.Sprintf("(%s)(%s)", base, index))
}

func (f *Function) load(name string, d *V, from string) {
	f.add(1, func(r []int) string { return fmt.Sprintf("%s %s, F%d", name, from, r[0]) }, d)
}

// Store stores to base + offset bytes.
func (f *Function) Store(w Width, v *V, base R, offset int) { f.store(string(w), v, at(base, offset)) }

// StoreNext stores to base, which then advances by some bytes.
func (f *Function) StoreNext(w Width, v *V, base R, advance int) {
	f.store(string(w)+".P", v, fmt.Sprintf("%d(%s)", advance, base))
}

func (f *Function) store(name string, v *V, to string) {
	f.add(0, func(r []int) string { return fmt.Sprintf("%s F%d, %s", name, r[0], to) }, v)
}

// LoadPair loads 32 bytes from base + offset, a multiple of 16 up to 1008.
func (f *Function) LoadPair(a, b *V, base R, offset int) { f.pair("FLDPQ", a, b, at(base, offset)) }

// LoadPairNext loads 32 bytes from base, which then advances by some bytes.
func (f *Function) LoadPairNext(a, b *V, base R, advance int) {
	f.pair("FLDPQ.P", a, b, fmt.Sprintf("%d(%s)", advance, base))
}

func (f *Function) pair(name string, a, b *V, from string) {
	f.add(2, func(r []int) string { return fmt.Sprintf("%s %s, (F%d, F%d)", name, from, r[0], r[1]) }, a, b)
}

// StorePair stores 32 bytes to base + offset, a multiple of 16 up to 1008.
func (f *Function) StorePair(a, b *V, base R, offset int) {
	f.storePair("FSTPQ", a, b, at(base, offset))
}

// StorePairNext stores 32 bytes to base, which then advances by some bytes.
func (f *Function) StorePairNext(a, b *V, base R, advance int) {
	f.storePair("FSTPQ.P", a, b, fmt.Sprintf("%d(%s)", advance, base))
}

func (f *Function) storePair(name string, a, b *V, to string) {
	f.add(0, func(r []int) string { return fmt.Sprintf("%s (F%d, F%d), %s", name, r[0], r[1], to) }, a, b)
}

func at(base R, offset int) string {
	if offset == 0 {
		return fmt.Sprintf("(%s)", base)
	}
	return fmt.Sprintf("%d(%s)", offset, base)
}

// LoadLast loads from base + offset bytes, after which base advances by some bytes.
func (f *Function) LoadLast(w Width, d *V, base R, offset, advance int) {
	if offset == 0 {
		f.LoadNext(w, d, base, advance)
		return
	}
	f.Load(w, d, base, offset)
	f.Op("ADD $%d, %s, %s", advance, base, base)
}

// StoreLast stores to base + offset bytes, after which base advances by some bytes.
func (f *Function) StoreLast(w Width, v *V, base R, offset, advance int) {
	if offset == 0 {
		f.StoreNext(w, v, base, advance)
		return
	}
	f.Store(w, v, base, offset)
	f.Op("ADD $%d, %s, %s", advance, base, base)
}
