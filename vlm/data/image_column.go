package data

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// pictureColumn finds the column that holds the pictures: a list of structs with bytes,
// as FineVision has it, or one such struct, the Image feature of Hugging Face's
// datasets; a list of binary values, or one. It is nil where there is none. A column that
// means pictures and is not read is refused by its name: its rows would be taken for
// rows of text.
func imageColumn(root *parquet.Column) (*column, error) {
	var held []*column
	var named []string // columns that name pictures
	for _, c := range root.Columns() {
		switch {
		case c.Name() == "texts" || c.Name() == "source":
		case isImageName(c.Name()) && !isNull(c):
			found := bytesIn(c)
			if found == nil {
				return nil, fmt.Errorf("the column %s is %s, not a list of structs with bytes, nor one struct or binary value", c.Name(), describe(c))
			}
			held = append(held, found)
		case isFile(c):
			return nil, fmt.Errorf("the column %s holds files, which are not read: call it images where they are pictures, or drop it", c.Name())
		case imagePathNames.MatchString(NormalizeName(c.Name())) && c.Leaf() && isText(c):
			named = append(named, c.Name())
		}
	}
	switch {
	case len(held) > 1:
		return nil, fmt.Errorf("the columns %s and %s both hold pictures: put those of a row into one list, images", held[0].name, held[1].name)
	case len(held) == 1:
		return held[0], nil
	case len(named) > 0:
		return nil, fmt.Errorf("the column %s names pictures, which are not in the file: write their bytes into a column images, a list of structs with bytes, or drop it", named[0])
	}
	return nil, nil
}

// What columns of pictures are called, plainly, and those of pictures' names.
var (
	imageNames     = regexp.MustCompile(`^(image|img|picture|photo|pic|jpg|jpeg|png|webp)s?[0-9]*$`)
	imagePathNames = regexp.MustCompile(`^(image|img|picture|photo|pic)s?[0-9]*(path|file|filename|filepath|name|url|uri|href|link)s?$`)
)

func isImageName(name string) bool { return imageNames.MatchString(NormalizeName(name)) }

// plainName is a name in lower case, without what joins words.
func NormalizeName(name string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(name))
}

// bytesIn finds the leaf with a picture's bytes; nil where the column is made otherwise.
func bytesIn(c *parquet.Column) *column {
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

// isFile tells a struct with bytes and a path, or a list of them: a picture, a sound or a
// video in Hugging Face's datasets.
func isFile(c *parquet.Column) bool {
	at := c
	for at.Column("bytes") == nil && len(at.Columns()) == 1 {
		at = at.Columns()[0]
	}
	inner := at.Column("bytes")
	return inner != nil && at.Column("path") != nil && isText(inner)
}

// isNull tells a column that a writer gave no type, since it has nothing but nulls.
func isNull(c *parquet.Column) bool {
	if !c.Leaf() || c.Type().LogicalType() == nil {
		return false
	}
	_, null := c.Type().LogicalType().Value.(*format.NullType)
	return null
}

// isString tells text from bytes.
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
