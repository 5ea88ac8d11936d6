package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Table collects results by kernel and variant, with a column for every device.
type Table struct {
	devices []string
	rows    []string // "matmul tall", in the order of their first results
	cells   map[[2]string]*cell
	notes   map[Status][]string
}

type cell struct {
	count map[Status]int
	worst float64
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{cells: map[[2]string]*cell{}, notes: map[Status][]string{}} }

// Add counts a device's result.
func (t *Table) Add(device string, r Result) {
	if !slices.Contains(t.devices, device) {
		t.devices = append(t.devices, device)
	}
	row := r.Kernel + "\t" + r.Variant
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	c := t.cells[[2]string{row, device}]
	if c == nil {
		c = &cell{count: map[Status]int{}}
		t.cells[[2]string{row, device}] = c
	}
	status := r.Status()
	c.count[status]++
	if status == Passed {
		c.worst = max(c.worst, r.Worst)
		return
	}
	t.notes[status] = append(t.notes[status], strings.Join(strings.Fields(fmt.Sprintf("%s %s %s, case %q: %s", device, r.Kernel, r.Variant, r.Case, describe(r))), " "))
}

func describe(r Result) string {
	switch r.Status() {
	case Failed:
		return r.Err.Error()
	case XPass:
		return "passes, although declared to fail: " + r.Known
	}
	return r.Known + ": " + r.Err.Error()
}

// Count is the number of results of a status.
func (t *Table) Count(s Status) (n int) {
	for _, c := range t.cells {
		n += c.count[s]
	}
	return n
}

// Print writes the table and, below it, every case that failed, XFails included.
func (t *Table) Print(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "kernel\tvariant\t%s\t\n", strings.Join(t.devices, "\t"))
	slices.Sort(t.rows)
	for _, row := range t.rows {
		fmt.Fprint(tab, row)
		for _, d := range t.devices {
			fmt.Fprint(tab, "\t"+t.cells[[2]string{row, d}].String())
		}
		fmt.Fprintln(tab, "\t")
	}
	fmt.Fprint(tab, "all\t")
	for _, d := range t.devices {
		fmt.Fprint(tab, "\t"+t.sum(d).String())
	}
	fmt.Fprintln(tab, "\t")
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, n := range []struct {
		status Status
		title  string
	}{{Failed, "Failed:"}, {XPass, "Declared to fail, but passed; remove them from conformance.KnownFailures:"}, {XFail, "Known failures:"}} {
		t.printNotes(w, n.title, t.notes[n.status])
	}
	return nil
}

func (t *Table) printNotes(w io.Writer, title string, notes []string) {
	if len(notes) > 0 {
		fmt.Fprintf(w, "\n%s\n  %s\n", title, strings.Join(notes, "\n  "))
	}
}

// sum is a device's column.
func (t *Table) sum(device string) *cell {
	all := &cell{count: map[Status]int{}}
	for _, row := range t.rows {
		c := t.cells[[2]string{row, device}]
		if c == nil {
			continue
		}
		all.worst = max(all.worst, c.worst)
		for s, n := range c.count {
			all.count[s] += n
		}
	}
	return all
}

// String is "61 ok 0.42": the number of cases that passed and the worst error relative to
// the tolerance; "58 of 61" where some did not pass.
func (c *cell) String() string {
	if c == nil {
		return "–"
	}
	total := 0
	for _, n := range c.count {
		total += n
	}
	switch passed := c.count[Passed]; {
	case passed == total:
		return fmt.Sprintf("%d ok %.2f", total, c.worst)
	case c.count[Failed]+c.count[XPass] == 0:
		return fmt.Sprintf("%d ok %.2f, %d known", passed, c.worst, c.count[XFail])
	default:
		return fmt.Sprintf("%d of %d FAIL", passed, total)
	}
}
