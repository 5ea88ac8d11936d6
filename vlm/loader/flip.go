package loader

import (
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"

	"patchwork/vlm/chat"
	"patchwork/vlm/data"
)

// flips reports whether the images of a row are mirrored, left to right, in an epoch: half of the
// rows that mirrorable allows. It depends on the seed, the epoch and the row's number in the
// dataset alone, and is the same for all images of the row, wherever they are packed.
func (l *Loader) flips(epoch int, row *data.Row, number int) bool {
	if !l.Flip {
		return false
	}
	random := rand.NewPCG(l.Shuffle.Seed^flipStream, uint64(epoch)<<32^uint64(number))
	return random.Uint64()>>63 == 1 && mirrorable(row)
}

// flipStream separates the random numbers of flips from those of the order: "flip".
const flipStream = 0x666c6970

// sideWords are words, and beginnings of words, that are wrong or unreadable in a mirror: sides,
// directions, what is written or drawn to be read from one side, and places by coordinates. Some
// are harmless in other senses ("a number of", "all right"); such rows are just not mirrored.
var sideWords = struct {
	whole    map[string]bool
	prefixes []string
}{
	whole: setOf(
		"east", "eastern", "eastward", "eastwards", "west", "western", "westward", "westwards", "northeast", "northwest", "southeast", "southwest",
		"port", "starboard", "sinister", "dexter", "anticlockwise", "clock", "clocks", "oclock", "watch", "watches", "dial", "time",
		"text", "texts", "letter", "letters", "lettering", "word", "words", "number", "numbers", "numeral", "numerals", "digit", "digits",
		"logo", "logos", "sign", "signs", "signage", "label", "labels", "caption", "captions", "title", "titled", "titles", "heading", "headline",
		"spell", "spells", "spelled", "spelling", "script", "font", "fonts", "says", "saying", "plate", "plates", "page", "pages",
		"chart", "charts", "graph", "graphs", "plot", "plots", "axis", "axes", "table", "tables", "map", "maps", "diagram", "diagrams",
		"equation", "equations", "formula", "formulas", "code", "qr", "bbox", "bboxes", "xmin", "xmax", "x1", "x2",
		// The sides in other languages.
		"links", "linke", "linken", "linker", "linkes", "linkem", "rechts", "rechte", "rechten", "rechter", "rechtes", "rechtem",
		"gauche", "gauches", "droite", "droites", "droit", "izquierda", "izquierdo", "derecha", "derecho", "esquerda", "esquerdo", "direita", "direito",
		"sinistra", "sinistro", "destra", "destro", "слева", "справа", "левый", "левая", "левой", "правый", "правая", "правой",
	),
	prefixes: []string{"left", "right", "clockwise", "counterclock", "read", "writ", "wrote", "inscri", "engrav", "print", "handwrit", "coordinat", "bounding", "mirror", "flip"},
}

func setOf(words ...string) map[string]bool {
	set := map[string]bool{}
	for _, w := range words {
		set[w] = true
	}
	return set
}

// mirrorable reports whether no question and no answer of a row names a side, or something that
// cannot be read in a mirror.
func mirrorable(row *data.Row) bool {
	for _, t := range row.Turns {
		if namesSide(t.User) || namesSide(t.Assistant) {
			return false
		}
	}
	return true
}

func namesSide(text string) bool {
	// Quotation marks are mostly around what is written in the image.
	if strings.ContainsAny(text, "\"“”„«»「」左右") || hasCoordinates(text) {
		return true
	}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		word = strings.ToLower(word)
		if sideWords.whole[word] {
			return true
		}
		for _, prefix := range sideWords.prefixes {
			if strings.HasPrefix(word, prefix) {
				return true
			}
		}
	}
	return false
}

// hasCoordinates reports whether a text has a bracket followed by a digit or a point, as in
// [0.1, 0.25], (120, 64) and <loc012>.
func hasCoordinates(text string) bool {
	for i := range len(text) - 1 {
		switch text[i] {
		case '[', '(', '{':
			if c := text[i+1]; c >= '0' && c <= '9' || c == '.' {
				return true
			}
		case '<':
			if strings.HasPrefix(text[i:], "<loc") || strings.HasPrefix(text[i:], "<box") || strings.HasPrefix(text[i:], "<point") {
				return true
			}
		}
	}
	return false
}

// mirror reverses the rows of the pixels of an image in place. size is that of its file.
func (l *Loader) mirror(pixels []byte, size data.Size) error {
	if !l.Vision.KeepsAspect() {
		mirror(pixels, l.Vision.ImageSize, l.Vision.NumChannels)
		return nil
	}
	grid, err := l.Vision.ImageGrid(size.Width, size.Height)
	if err != nil {
		return err
	}
	mirrorPatches(pixels, grid, l.Vision.PatchSize, l.Vision.NumChannels)
	return nil
}

// mirror reverses the rows of an image [height, width, channels] in place.
func mirror(pixels []byte, width, channels int) {
	for row := range slices.Chunk(pixels, width*channels) {
		for a, b := 0, (width-1)*channels; a < b; a, b = a+channels, b-channels {
			for c := range channels {
				row[a+c], row[b+c] = row[b+c], row[a+c]
			}
		}
	}
}

// mirrorPatches mirrors an image of patches [rows·cols, side, side, channels] in place: the patches of
// each row change places, and each is mirrored.
func mirrorPatches(pixels []byte, grid chat.Grid, side, channels int) {
	size := side * side * channels
	for row := range grid.Rows {
		line := pixels[row*grid.Cols*size:][:grid.Cols*size]
		for a, b := 0, (grid.Cols-1)*size; a < b; a, b = a+size, b-size {
			for i := range size {
				line[a+i], line[b+i] = line[b+i], line[a+i]
			}
		}
	}
	mirror(pixels, side, channels)
}
