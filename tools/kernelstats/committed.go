package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// committed is a table as it is committed: without what changes from run to run and
// without the compiler's own names, and with the columns' names once.
type committed struct {
	Chip    string         `json:"chip"`
	Device  string         `json:"device"`
	Driver  string         `json:"driver"`
	Class   string         `json:"class"`
	Columns []string       `json:"columns"`
	Rows    []committedRow `json:"rows"`
}

type committedRow struct {
	Variant   string     `json:"variant"` // "matmul.tile64"
	Entry     string     `json:"entry,omitempty"`
	Constants []uint32   `json:"constants,omitempty"`
	Required  int        `json:"required_subgroup,omitempty"`
	Subgroup  int        `json:"subgroup,omitempty"`
	Values    []*float64 `json:"values"` // of the columns; null = the compiler reports none
}

// writeCommitted writes the table, a row a line.
func (t table) writeCommitted(w io.Writer) error {
	head := committed{Chip: t.Chip, Device: t.Device, Driver: t.Driver, Class: t.Class}
	for _, c := range columns {
		head.Columns = append(head.Columns, c.name)
	}
	first, err := json.Marshal(head)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s[\n", strings.TrimSuffix(string(first), "null}"))
	for i, r := range t.Rows {
		line := committedRow{Variant: r.id(), Entry: r.Entry, Constants: r.Constants, Required: r.Required, Subgroup: r.Subgroup}
		for _, c := range columns {
			if v, ok := r.Columns[c.name]; ok {
				line.Values = append(line.Values, &v)
			} else {
				line.Values = append(line.Values, nil)
			}
		}
		text, err := json.Marshal(line)
		if err != nil {
			return err
		}
		if i < len(t.Rows)-1 {
			text = append(text, ',')
		}
		fmt.Fprintf(w, "%s\n", text)
	}
	_, err = fmt.Fprintln(w, "]}")
	return err
}

// save writes the committed form to a file.
func (t table) save(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(t.writeCommitted(f), f.Close())
}

// readTable reads a table that --table wrote.
func readTable(file string) (t table, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return t, err
	}
	var c committed
	if err := json.Unmarshal(data, &c); err != nil {
		return t, fmt.Errorf("%s is not a table that kernelstats --table wrote: %w", file, err)
	}
	if c.Chip == "" || len(c.Columns) == 0 {
		return t, fmt.Errorf("%s is not a table that kernelstats --table wrote: it names no chip or no columns", file)
	}
	t = table{Chip: c.Chip, Device: c.Device, Driver: c.Driver, Class: c.Class}
	for i, line := range c.Rows {
		if len(line.Values) != len(c.Columns) {
			return t, fmt.Errorf("%s: row %d has %d values of %d columns", file, i, len(line.Values), len(c.Columns))
		}
		r := row{Entry: line.Entry, Constants: line.Constants, Required: line.Required, Subgroup: line.Subgroup, Chosen: true, Columns: map[string]float64{}}
		r.Kernel, r.Variant, _ = strings.Cut(line.Variant, ".")
		for n, v := range line.Values {
			if v != nil {
				r.Columns[c.Columns[n]] = *v
			}
		}
		t.Rows = append(t.Rows, r)
	}
	return t, nil
}
