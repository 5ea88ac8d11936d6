package data

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// columns are the leaf columns to read; image, sound and source may be nil.
type columns struct{ image, sound, user, assistant, source *column }

// A column is a leaf of the schema with the definition levels that tell null lists, null
// entries and values apart.
type column struct {
	name  string // of the top-level column
	index int
	entry int // definition level from which the list has an entry, null or not
	value int // definition level of a value
}

func findColumns(root *parquet.Column) (columns, error) {
	texts := root.Column("texts")
	if texts == nil {
		return columns{}, fmt.Errorf("no column texts; the columns are %s", strings.Join(columnNames(root), ", "))
	}
	turn, err := listFields(texts, "user", "assistant")
	if err != nil {
		return columns{}, err
	}
	c := columns{user: turn[0], assistant: turn[1]}
	if c.image, err = imageColumn(root); err != nil {
		return columns{}, err
	}
	if c.sound, err = soundColumn(root); err != nil {
		return columns{}, err
	}
	if source := root.Column("source"); source != nil && isText(source) && source.MaxRepetitionLevel() == 0 {
		c.source = &column{"source", source.Index(), 0, source.MaxDefinitionLevel()}
	}
	return c, nil
}

func columnNames(c *parquet.Column) []string {
	var all []string
	for _, child := range c.Columns() {
		all = append(all, child.Name())
	}
	return all
}

func isText(c *parquet.Column) bool { return c.Leaf() && c.Type().Kind() == parquet.ByteArray }

// listFields finds fields of the structs in a list. Names of the groups in between are
// ignored: writers use list, element, item or array.
func listFields(list *parquet.Column, fields ...string) ([]*column, error) {
	at, entry := list, 0
	for {
		if at.Repeated() {
			entry = at.MaxDefinitionLevel()
		}
		if at.Column(fields[0]) != nil || len(at.Columns()) != 1 {
			break
		}
		at = at.Columns()[0]
	}
	var found []*column
	for _, field := range fields {
		leaf := at.Column(field)
		if leaf == nil || !isText(leaf) || leaf.MaxRepetitionLevel() != 1 {
			return nil, fmt.Errorf("column %s is %s, not a list of structs with %s",
				list.Name(), describe(list), strings.Join(fields, " and "))
		}
		found = append(found, &column{list.Name(), leaf.Index(), entry, leaf.MaxDefinitionLevel()})
	}
	return found, nil
}

func describe(c *parquet.Column) string {
	if c.Leaf() {
		return "of type " + c.Type().String()
	}
	inner := c
	for len(inner.Columns()) == 1 {
		inner = inner.Columns()[0]
	}
	if inner.MaxRepetitionLevel() > 1 {
		return "a list of lists"
	}
	if inner.Leaf() {
		return "made of " + inner.Type().String()
	}
	return "made of {" + strings.Join(columnNames(inner), ", ") + "}"
}

func (c columns) all() []*column { return []*column{c.image, c.sound, c.user, c.assistant, c.source} }

// read returns a column's lists, [row][entry]bytes, with nil bytes for a null. Copied
// values are charged to the budget.
func (c *column) read(chunk parquet.ColumnChunk, rows int, budget *byteBudget) ([][][]byte, error) {
	pages := chunk.Pages()
	defer pages.Close()
	var lists [][][]byte
	shared := dictionaryCopies{}
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		// The values of a large page stay in the page: copying them would double its memory.
		keep := page.Dictionary() == nil && page.Size() > highlyCompressedBytes
		lists, err = c.appendPage(lists, page, rows, budget, shared, keep)
		if !keep {
			parquet.Release(page)
		} else {
			debug.FreeOSMemory() // frees the compressed page
		}
		if err != nil {
			return nil, err
		}
	}
	if len(lists) != rows {
		return nil, fmt.Errorf("%d rows, not %d", len(lists), rows)
	}
	return lists, nil
}

// appendPage appends a page's values; repetition level 0 starts a row. shared holds the
// values already copied from the dictionary. With keep, values alias the page.
func (c *column) appendPage(lists [][][]byte, page parquet.Page, rows int, budget *byteBudget, shared dictionaryCopies, keep bool) ([][][]byte, error) {
	if page.Dictionary() == nil {
		shared = nil
	}
	var buffer [128]parquet.Value
	values := page.Values()
	for {
		n, err := values.ReadValues(buffer[:])
		for _, v := range buffer[:n] {
			if v.RepetitionLevel() == 0 {
				lists = append(lists, nil)
			}
			if len(lists) == 0 || len(lists) > rows {
				return nil, errors.New("the pages do not match the row group")
			}
			if v.DefinitionLevel() < c.entry {
				continue // a null or empty list
			}
			bytes, err := c.bytes(v, budget, shared, keep)
			if err != nil {
				return nil, err
			}
			last := &lists[len(lists)-1]
			*last = append(*last, bytes)
		}
		if err == io.EOF {
			return lists, nil
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.ErrNoProgress
		}
	}
}

// dictionaryCopies maps a dictionary value's address to its copy, so that a value used by
// many rows is copied once.
type dictionaryCopies map[*byte][]byte

// bytes returns a value: nil for a null, else a copy of it or, with keep, the page's own
// memory.
func (c *column) bytes(v parquet.Value, budget *byteBudget, shared dictionaryCopies, keep bool) ([]byte, error) {
	if v.DefinitionLevel() < c.value {
		return nil, nil
	}
	value := v.ByteArray()
	if len(value) == 0 {
		return []byte{}, nil // not nil, which means null
	}
	at := unsafe.SliceData(value)
	if known, ok := shared[at]; ok && len(known) == len(value) {
		return known, nil
	}
	if err := budget.take(int64(len(value))); err != nil {
		return nil, err
	}
	if !keep {
		value = slices.Clone(value)
	}
	if shared != nil {
		shared[at] = value
	}
	return value, nil
}
