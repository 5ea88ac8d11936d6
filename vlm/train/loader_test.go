package train

import (
	"testing"

	"patchwork/vlm/data"
	"patchwork/vlm/packing"
)

func rowSet(rows ...int) *data.RowSet {
	var s data.RowSet
	for _, i := range rows {
		s.Add(i)
	}
	return &s
}

// rowsTo returns rows 0 to n-1.
func rowsTo(n int) *data.RowSet {
	var s data.RowSet
	for i := range n {
		s.Add(i)
	}
	return &s
}

// samplesOf encodes and counts a row of the loader's dataset.
func samplesOf(t *testing.T, l *Loader, i int) []*packing.Sample {
	t.Helper()
	row, err := l.dataset.Row(i)
	s := data.Streamed{Row: row, Number: i, Mine: true, Err: err}
	e := l.encode(&s)
	l.record(&s, e)
	return e.samples
}
