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

// columns are the leaves that are read; the pictures' and source's may be missing.
type columns struct{ image, user, assistant, source *column }

// A column is a leaf of the schema. Its values come with a definition level:
// how far down its path there is something.
type column struct {
	name  string // of the top-level column
	index int
	entry int // the level from which the list has an entry, null or not
	value int // the level of a value
}

func findColumns(root *parquet.Column) (columns, error) {
	texts := root.Column("texts")
	if texts == nil {
		return columns{}, fmt.Errorf("no column texts; there are %s", strings.Join(columnNames(root), ", "))
	}
	turn, err := listFields(texts, "user", "assistant")
	if err != nil {
		return columns{}, err
	}
	c := columns{user: turn[0], assistant: turn[1]}
	if c.image, err = imageColumn(root); err != nil {
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

// listFields finds fields of the structs in a list, whatever the groups between
// are called: writers disagree on list, element, item and array.
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
			return nil, fmt.Errorf("the column %s is %s, not a list of structs with %s",
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

func (c columns) all() []*column { return []*column{c.image, c.user, c.assistant, c.source} }

// read returns a column's lists, [row][entry]bytes; nil bytes for a null. What it
// copies is taken from a.
func (c *column) read(chunk parquet.ColumnChunk, rows int, a *byteBudget) ([][][]byte, error) {
	pages := chunk.Pages()
	defer pages.Close()
	var lists [][][]byte
	shared := copies{}
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		// A large page stays, and its values are not copied: there is no room for both.
		keep := page.Dictionary() == nil && page.Size() > highlyCompressedBytes
		lists, err = c.appendPage(lists, page, rows, a, shared, keep)
		if !keep {
			parquet.Release(page)
		} else {
			debug.FreeOSMemory() // of what it was unpacked from
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

// appendPage takes a page's values: a repetition level of 0 begins a row. shared are the
// copies of the dictionary's values; with keep, the page outlives its values.
func (c *column) appendPage(lists [][][]byte, page parquet.Page, rows int, a *byteBudget, shared copies, keep bool) ([][][]byte, error) {
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
			bytes, err := c.bytes(v, a, shared, keep)
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

// copies are the values of a dictionary that were copied, by their place in it: a value
// that stands in many rows takes memory once.
type copies map[*byte][]byte

// bytes copies a value out of its page, or finds the copy that there is.
func (c *column) bytes(v parquet.Value, a *byteBudget, shared copies, keep bool) ([]byte, error) {
	if v.DefinitionLevel() < c.value {
		return nil, nil
	}
	value := v.ByteArray()
	if len(value) == 0 {
		return []byte{}, nil // not nil, even where empty
	}
	at := unsafe.SliceData(value)
	if known, ok := shared[at]; ok && len(known) == len(value) {
		return known, nil
	}
	if err := a.take(int64(len(value))); err != nil {
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
