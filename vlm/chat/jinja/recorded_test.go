package jinja

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// recording is jinja2's result for a template; see testdata/record.py.
type recording struct {
	Name, Source, Variables string
	Want, Message           string
	Error                   string
	Spans                   [][2]int
}

type recordings struct {
	Variables              map[string]json.RawMessage
	Expressions, Templates []recording
	Times                  []struct{ Time, Format, Want string }
}

func readRecordings(t testing.TB) recordings {
	t.Helper()
	data, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	var all recordings
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (all recordings) variables(t testing.TB, name string) *Dict {
	t.Helper()
	v, err := FromJSON(all.Variables[name])
	if err != nil {
		t.Fatal(err)
	}
	d := v.(*Dict)
	for _, key := range []string{"messages", "tools", "documents", "add_generation_prompt"} {
		if _, ok := d.Get(key); !ok {
			d.Set(key, map[string]Value{"messages": NewList(), "add_generation_prompt": false}[key])
		}
	}
	return d
}

var testLimits = Limits{Time: 5 * time.Second, Size: 1 << 20, Total: 128 << 20}

func renderSource(source string, variables *Dict) (Result, error) {
	template, err := Parse(source)
	if err != nil {
		return Result{}, err
	}
	return template.Render(variables, testLimits, time.Now)
}

func TestRecordedExpressions(t *testing.T) {
	all := readRecordings(t)
	if len(all.Expressions) < 700 {
		t.Errorf("%d expressions are recorded", len(all.Expressions))
	}
	for _, one := range all.Expressions {
		one.Name = one.Source
		one.check(t, "{{ "+one.Source+" }}", all.variables(t, "expressions"))
	}
}

func TestRecordedTemplates(t *testing.T) {
	all := readRecordings(t)
	if len(all.Templates) < 90 {
		t.Errorf("%d templates are recorded", len(all.Templates))
	}
	for _, one := range all.Templates {
		one.check(t, one.Source, all.variables(t, one.Variables))
	}
}

func (one recording) check(t *testing.T, source string, variables *Dict) {
	t.Helper()
	got, err := renderSource(source, variables)
	switch {
	case one.Error != "" && err == nil:
		t.Errorf("%s\n got %q\nwant an error (%s)", one.Name, got.Text, one.Error)
	case one.Error != "" && one.Message != "" && err.Error() != one.Message:
		t.Errorf("%s\n got error %q\nwant error %q", one.Name, err, one.Message)
	case one.Error != "":
	case err != nil:
		t.Errorf("%s\n got error %v\nwant %q", one.Name, err, one.Want)
	case got.Text != one.Want:
		t.Errorf("%s\n got %q\nwant %q", one.Name, got.Text, one.Want)
	default:
		var spans [][2]int
		for _, s := range got.Generated {
			spans = append(spans, [2]int{s.Lo, s.Hi})
		}
		if !slices.Equal(spans, outermost(one.Spans)) || got.Misplaced != 0 {
			t.Errorf("%s\n got spans %v, %d misplaced\nwant spans %v", one.Name, spans, got.Misplaced, one.Spans)
		}
	}
}

// outermost removes nested spans, whose offsets are wrong in transformers.
func outermost(spans [][2]int) [][2]int {
	return slices.DeleteFunc(slices.Clone(spans), func(a [2]int) bool {
		return slices.ContainsFunc(spans, func(b [2]int) bool { return a != b && b[0] <= a[0] && a[1] <= b[1] })
	})
}

// recorded.json is up to date with the sources beside it.
func TestRecordingsAreUpToDate(t *testing.T) {
	all := readRecordings(t)
	known := map[string]bool{}
	for _, one := range all.Expressions {
		known[one.Source] = true
	}
	text, err := os.ReadFile("testdata/expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	missing, lines := 0, 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if lines++; !known[line] {
			missing++ // their results contain an address
		}
	}
	if missing > 15 || len(all.Expressions)+missing != lines {
		t.Errorf("%d expressions, %d recorded, %d of them missing: run testdata/record.py", lines, len(all.Expressions), missing)
	}
}

func TestStrftime(t *testing.T) {
	for _, one := range readRecordings(t).Times {
		when, err := time.Parse("2006-01-02T15:04:05.999999", one.Time)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{limits: testLimits, until: time.Now().Add(time.Minute)}
		got, err := r.strftime(when, one.Format)
		if err != nil || got != one.Want {
			t.Errorf("%s of %s: %q (%v), want %q", one.Format, one.Time, got, err, one.Want)
		}
	}
}
