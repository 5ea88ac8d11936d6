package hub

import "testing"

func TestParseReference(t *testing.T) {
	for in, want := range map[string]Reference{
		"hf://datasets/a/b":                              {Repo{Dataset, "a/b", "main"}, ""},
		"hf://datasets/a/b/":                             {Repo{Dataset, "a/b", "main"}, ""},
		"hf://datasets/a/b/c":                            {Repo{Dataset, "a/b", "main"}, "c"},
		"hf://datasets/a/b@v1.0/c/d.parquet":             {Repo{Dataset, "a/b", "v1.0"}, "c/d.parquet"},
		"hf://datasets/a/b@v1.0":                         {Repo{Dataset, "a/b", "v1.0"}, ""},
		"hf://datasets/a/b@refs/convert/parquet/c/d":     {Repo{Dataset, "a/b", "refs/convert/parquet"}, "c/d"},
		"hf://datasets/a/b@refs/pr/12/c":                 {Repo{Dataset, "a/b", "refs/pr/12"}, "c"},
		"hf://datasets/a/b@refs%2Fheads%2Fx/c":           {Repo{Dataset, "a/b", "refs/heads/x"}, "c"},
		"hf://datasets/a/b/c@d/*.parquet":                {Repo{Dataset, "a/b", "main"}, "c@d/*.parquet"},
		"hf://a/b/c":                                     {Repo{Model, "a/b", "main"}, "c"},
		"hf://models/a/b@x/c":                            {Repo{Model, "a/b", "x"}, "c"},
		"hf://datasets/a/b/[ab]*.parquet":                {Repo{Dataset, "a/b", "main"}, "[ab]*.parquet"},
		"hf://datasets/HuggingFaceM4/FineVision/chartqa": {Repo{Dataset, "HuggingFaceM4/FineVision", "main"}, "chartqa"},
	} {
		got, err := ParseReference(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
		if again, err := ParseReference(got.String()); err != nil || again != got {
			t.Errorf("%q: %q is %+v, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "a/b", "hf://", "hf://a", "hf://datasets/a", "hf://datasets/a/", "hf://datasets//b", "hf://datasets/a/b@", "hf://datasets/a/b@/c",
		"hf://datasets/a@x/b", "hf://datasets/a/b/../c", "hf://datasets/a/b//c", "hf://datasets/a/b/[", "hf://datasets/a?/b", "hf://datasets/../b/c", `hf://datasets/a/b/c\d`} {
		if got, err := ParseReference(in); err == nil {
			t.Errorf("%q: %+v, want an error", in, got)
		}
	}
}

// FuzzParseReference: what is parsed stays in its repository, and is written as it was read.
func FuzzParseReference(f *testing.F) {
	f.Add("hf://datasets/a/b@refs/pr/12/c/*.parquet")
	f.Add("hf://models/a/b@x%2Fy/c")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		if r.Path != "" && !isLocalName(r.Path) {
			t.Errorf("%q: the path %q", s, r.Path)
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v is written %q, which is %+v, %v", s, r, r, again, err)
		}
	})
}

// TestLayout: blocks cover a file without gaps, and each offset is in its own.
func TestLayout(t *testing.T) {
	for size := int64(1); size < 200; size++ {
		l := layout{size, 10, 30, 20}
		next := int64(0)
		for i := int64(0); i <= l.index(size-1); i++ {
			from, to := l.bounds(i)
			if from != next || to <= from || to-from > 30 {
				t.Fatalf("size %d: block %d is [%d, %d), want it from %d", size, i, from, to, next)
			}
			for at := from; at < to; at++ {
				if l.index(at) != i {
					t.Fatalf("size %d: %d is in block %d, want %d", size, at, l.index(at), i)
				}
			}
			next = to
		}
		if next != size {
			t.Fatalf("size %d: the blocks end at %d", size, next)
		}
	}
}
