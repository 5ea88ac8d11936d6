package data

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// imageColumn returns the column of image bytes, or nil. It may be a list of structs with
// bytes, as in FineVision; one such struct, the Image feature of Hugging Face datasets; a
// list of binary values; or one binary value. A column that by its name holds images but
// cannot be read is an error, since its rows would silently become text-only.
func imageColumn(root *parquet.Column) (*column, error) {
	var found []*column
	var paths []string // columns of image file names or URLs
	for _, c := range root.Columns() {
		switch {
		case c.Name() == "texts" || c.Name() == "source":
		case isImageName(c.Name()) && !isNull(c):
			leaf := fileBytes(c)
			if leaf == nil {
				return nil, fmt.Errorf("column %s is %s, not a list of structs with bytes, a struct with bytes, or a binary value", c.Name(), describe(c))
			}
			found = append(found, leaf)
		case isSoundName(c.Name()):
		case isFile(c):
			return nil, fmt.Errorf("column %s holds files, which are not read: rename it to images or audios if it holds these, or drop it", c.Name())
		case imagePathNames.MatchString(NormalizeName(c.Name())) && c.Leaf() && isText(c):
			paths = append(paths, c.Name())
		}
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("columns %s and %s both hold images: put all images of a row into one list column, images", found[0].name, found[1].name)
	case len(found) == 1:
		return found[0], nil
	case len(paths) > 0:
		return nil, fmt.Errorf("column %s holds image paths, but the images are not in the file: write their bytes into a column images, a list of structs with bytes, or drop it", paths[0])
	}
	return nil, nil
}

// Normalized names of columns of images, and of columns of image paths.
var (
	imageNames     = regexp.MustCompile(`^(image|img|picture|photo|pic|jpg|jpeg|png|webp)s?[0-9]*$`)
	imagePathNames = regexp.MustCompile(`^(image|img|picture|photo|pic)s?[0-9]*(path|file|filename|filepath|name|url|uri|href|link)s?$`)
)

func isImageName(name string) bool { return imageNames.MatchString(NormalizeName(name)) }

// NormalizeName returns a column or field name in lower case without separators:
// img_path, imgPath and "Img Path" are the same name.
func NormalizeName(name string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(name))
}

// soundColumn returns the column of the bytes of sound files, or nil. It has one of the types of
// an image column. A column that by its name holds sound but cannot be read is an error.
func soundColumn(root *parquet.Column) (*column, error) {
	var found *column
	for _, c := range root.Columns() {
		if !isSoundName(c.Name()) || isNull(c) {
			continue
		}
		leaf := fileBytes(c)
		switch {
		case leaf == nil:
			return nil, fmt.Errorf("column %s is %s, not a list of structs with bytes, a struct with bytes, or a binary value", c.Name(), describe(c))
		case found != nil:
			return nil, fmt.Errorf("columns %s and %s both hold sound: put all clips of a row into one list column, audios", found.name, leaf.name)
		}
		found = leaf
	}
	return found, nil
}

// soundNames are normalized names of columns of sound.
var soundNames = regexp.MustCompile(`^(audio|sound|speech|recording|wav|flac|mp3|ogg)s?[0-9]*$`)

func isSoundName(name string) bool { return soundNames.MatchString(NormalizeName(name)) }

// fileBytes returns the leaf of a column of files that holds the bytes, or nil if the
// column has another type.
func fileBytes(c *parquet.Column) *column {
	at, entry := c, c.MaxDefinitionLevel()
	for at.Column("bytes") == nil && len(at.Columns()) == 1 {
		at = at.Columns()[0]
		if at.Repeated() {
			entry = at.MaxDefinitionLevel()
		}
	}
	leaf := at
	if inner := at.Column("bytes"); inner != nil {
		leaf = inner
	}
	if leaf == at && isString(leaf) || !isNull(leaf) && !isText(leaf) || leaf.MaxRepetitionLevel() > 1 {
		return nil
	}
	return &column{c.Name(), leaf.Index(), entry, leaf.MaxDefinitionLevel()}
}

// isFile reports whether c is a struct with bytes and path, or a list of them: an image,
// audio or video feature of Hugging Face datasets.
func isFile(c *parquet.Column) bool {
	at := c
	for at.Column("bytes") == nil && len(at.Columns()) == 1 {
		at = at.Columns()[0]
	}
	inner := at.Column("bytes")
	return inner != nil && at.Column("path") != nil && isText(inner)
}

// isNull reports whether c has the null type, which writers use for a column of nulls.
func isNull(c *parquet.Column) bool {
	if !c.Leaf() || c.Type().LogicalType() == nil {
		return false
	}
	_, null := c.Type().LogicalType().Value.(*format.NullType)
	return null
}

// isString reports whether c has a text type rather than plain binary.
func isString(c *parquet.Column) bool {
	if !c.Leaf() || c.Type().LogicalType() == nil {
		return false
	}
	switch c.Type().LogicalType().Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return true
	}
	return false
}
