package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// printJSON writes the whole table, with the compiler's own names.
func (t table) printJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", " ")
	return out.Encode(t)
}

// printText writes the table with aligned columns.
func (t table) printText(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, class %s\n", t.Device, t.Driver, t.Class)
	out := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.AlignRight)
	present := t.present()
	fmt.Fprint(out, "lanes\t")
	for _, c := range present {
		fmt.Fprintf(out, "%s\t", c.title)
	}
	fmt.Fprint(out, "ms\t pipeline\n")
	names := t.names()
	for i, r := range t.Rows {
		fmt.Fprintf(out, "%d\t", r.Subgroup)
		for _, c := range present {
			fmt.Fprintf(out, "%s\t", r.cell(c))
		}
		fmt.Fprintf(out, "%.1f\t %s\n", 1000*r.Seconds, names[i])
	}
	return out.Flush()
}

// present are the columns that a row of the table has and that are not 0 everywhere; what
// must be in registers is always shown.
func (t table) present() []column {
	var all []column
	for _, c := range columns {
		for _, r := range t.Rows {
			if v, ok := r.Columns[c.name]; ok && (v != 0 || c.name == "spilled" || c.name == "local_bytes") {
				all = append(all, c)
				break
			}
		}
	}
	return all
}

// names are the rows' names, with the constants where several rows differ only in them.
func (t table) names() []string {
	count := map[string]int{}
	for _, r := range t.Rows {
		count[fmt.Sprint(r.name(), r.Required)]++
	}
	names := make([]string, len(t.Rows))
	for i, r := range t.Rows {
		names[i] = r.name()
		if count[fmt.Sprint(r.name(), r.Required)] > 1 {
			names[i] += " " + strings.ReplaceAll(strings.Trim(fmt.Sprint(r.Constants), "[]"), " ", ",")
		}
	}
	return names
}

func (r row) cell(c column) string {
	v, ok := r.Columns[c.name]
	if !ok {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// printMarkdown writes the table; before, if it has rows, is an earlier one of the chip,
// beside which changed figures are shown.
func (t table) printMarkdown(w io.Writer, before table) {
	present := t.present()
	fmt.Fprint(w, "| pipeline | lanes |")
	for _, c := range present {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("--:|", len(present)+1))
	old := before.matching(t)
	names := t.names()
	for i, r := range t.Rows {
		fmt.Fprintf(w, "| %s | %s |", names[i], lanes(r))
		for _, c := range present {
			cell := r.cell(c)
			if o := old[i]; o != nil && o.cell(c) != cell {
				cell = o.cell(c) + " → " + cell
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
}

func lanes(r row) string {
	if r.Subgroup == 0 {
		return "–"
	}
	return strconv.Itoa(r.Subgroup)
}

// matching returns, for each row of another table, the row here of the same pipeline: with
// equal constants, or the only one with its name and subgroup size. Elsewhere it is nil.
func (t table) matching(other table) []*row {
	exact, named := map[string]*row{}, map[string][]*row{}
	loose := func(r row) string { return fmt.Sprint(r.name(), r.Required) }
	for i := range t.Rows {
		r := &t.Rows[i]
		exact[r.key()] = r
		named[loose(*r)] = append(named[loose(*r)], r)
	}
	count := map[string]int{}
	for _, r := range other.Rows {
		count[loose(r)]++
	}
	found := make([]*row, len(other.Rows))
	for i, r := range other.Rows {
		if found[i] = exact[r.key()]; found[i] == nil && count[loose(r)] == 1 && len(named[loose(r)]) == 1 {
			found[i] = named[loose(r)][0]
		}
	}
	return found
}
