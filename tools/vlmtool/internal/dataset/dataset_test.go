package dataset

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct{ paths, local, remote []string }{
		{[]string{"a.parquet", "b,c"}, []string{"a.parquet", "b,c"}, nil},
		{[]string{"hf://datasets/o/n/a"}, nil, []string{"hf://datasets/o/n/a"}},
		{[]string{"a,hf://datasets/o/n/b,hf://datasets/o/m@x/c", "d,e"}, []string{"a", "d,e"}, []string{"hf://datasets/o/n/b", "hf://datasets/o/m@x/c"}},
		{[]string{"hf://datasets/o/n/a,,b"}, []string{"b"}, []string{"hf://datasets/o/n/a"}},
	} {
		if local, remote := split(c.paths); !slices.Equal(local, c.local) || !slices.Equal(remote, c.remote) {
			t.Errorf("%q: %q and %q", c.paths, local, remote)
		}
	}
}
