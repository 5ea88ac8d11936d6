package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// flagGroup is a heading over the flags from one on.
type flagGroup struct {
	title string
	first int
}

// group puts the flags that are declared next under a heading.
func (a *app) group(title string) { a.groups = append(a.groups, flagGroup{title, len(a.shown())}) }

// shown are the flags in their order, without those that are only accepted.
func (a *app) shown() (all []*pflag.Flag) {
	a.flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			all = append(all, f)
		}
	})
	return all
}

// offering is a flag's value with words to offer for it.
type offering interface{ offers() []string }

// wordValue is the value of a flag that takes one of a few words, or, where several is
// set, some of them separated by commas.
type wordValue struct {
	words   []string
	one     *string
	several *[]string
	changed bool
}

func (c *wordValue) offers() []string { return c.words }
func (c *wordValue) Type() string     { return "choice" }

func (c *wordValue) String() string {
	if c.one != nil {
		return *c.one
	}
	return strings.Join(*c.several, ",")
}

func (c *wordValue) Set(s string) error {
	given := []string{s}
	if c.several != nil {
		given = strings.Split(s, ",")
	}
	for i, word := range given {
		if current := packing.CurrentName(word); slices.Contains(c.words, current) {
			given[i] = current
			continue
		}
		want := "want " + oneOf(c.words)
		if near := nearest(word, c.words); near != "" {
			want += "; did you mean " + near + "?"
		}
		return errors.New(want)
	}
	if c.one != nil {
		*c.one = given[0]
		return nil
	}
	if !c.changed {
		*c.several = nil
	}
	*c.several, c.changed = append(*c.several, given...), true
	return nil
}

// choice adds a flag that takes one of a few words.
func (a *app) choice(to *string, name, value, usage string, words ...string) {
	*to = value
	a.flags.Var(&wordValue{words: words, one: to}, name, usage)
}

// choices adds a flag that takes some of a few words.
func (a *app) choices(to *[]string, name string, value []string, usage string, words ...string) {
	*to = value
	a.flags.Var(&wordValue{words: words, several: to}, name, usage)
}

// bosFlag adds --bos.
func (a *app) bosFlag(to *string, when string) {
	a.choice(to, "bos", vlm.BOSAuto, "WORD: "+when+"put the begin token before the text; auto does what the tokenizer does", vlm.BOSAuto, vlm.BOSYes, vlm.BOSNo)
}

// dataUsage is what --data says of itself.
const dataUsage = "PATH: parquet files, globs or folders, separated by commas; may be given several times"

// none reports whether a flag that may be given several times names nothing.
func none(values []string) bool { return strings.Join(values, "") == "" }

// unused adds flags of other commands of a group that have nothing to say to this
// one; they are taken with a warning.
func (a *app) unused(names ...string) {
	for _, name := range names {
		a.flags.String(name, "", "")
		a.flags.Lookup(name).Hidden = true
	}
}

// offers are the words that a flag's value can be; nil where they are not fixed.
func offers(f *pflag.Flag) []string {
	if o, ok := f.Value.(offering); ok {
		return o.offers()
	}
	return nil
}

var metavars = regexp.MustCompile(`^([A-Z][A-Z:|]*): `)

// describe splits what a flag says of itself: what its value is called, "" for a
// switch, and what it does.
func describe(f *pflag.Flag) (metavar, text string) {
	text = f.Usage
	if m := metavars.FindStringSubmatch(text); m != nil {
		metavar, text = m[1], text[len(m[0]):]
	} else {
		metavar = map[string]string{"bool": "", "float64": "X", "int": "N", "uint64": "N", "duration": "TIME", "choice": "WORD"}[f.Value.Type()]
	}
	if c, ok := f.Value.(*wordValue); ok {
		text += ": " + oneOf(c.words)
		if c.several != nil {
			text += "; several, separated by commas"
		}
	}
	if d := f.DefValue; metavar != "" && d != "" && d != "0" && d != "[]" && d != "0s" {
		text += " (default " + strings.Trim(d, "[]") + ")"
	}
	return metavar, text
}

// read is pflag's Parse with errors that say what to do.
func (a *app) read(args []string) error {
	err := a.flags.Parse(args)
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		return usageError{errors.New(a.unknown(unknown))}
	case errors.As(err, &bad):
		return usagef("--%s is %q, %s", bad.GetFlag().Name, bad.GetValue(), wanted(bad))
	case errors.As(err, &bare):
		metavar, text := describe(bare.GetFlag())
		return usagef("--%s needs a value: %s, %s", bare.GetFlag().Name, metavar, text)
	case err != nil:
		return usagef("%v; flags are written --name VALUE", err)
	}
	a.flags.Visit(func(f *pflag.Flag) {
		if x, e := strconv.ParseFloat(f.Value.String(), 64); f.Value.Type() == "float64" && (e != nil || math.IsNaN(x) || math.IsInf(x, 0)) {
			err = usagef("--%s is %s, want a finite number", f.Name, f.Value)
		}
		err = cmp.Or(err, checkCeiling(f))
	})
	return err
}

// wanted is what a flag would have taken.
func wanted(bad *pflag.InvalidValueError) string {
	if errors.Is(bad, strconv.ErrRange) {
		return "which is too large"
	}
	switch bad.GetFlag().Value.Type() {
	case "int":
		return "want a whole number"
	case "uint64":
		return "want a whole number, 0 or above"
	case "float64":
		return "want a number such as 0.5 or 3e-4"
	case "bool":
		return "want true or false, or nothing behind it"
	case "duration":
		return "want a time such as 500ms, 30s or 2m"
	}
	return bad.Unwrap().Error()
}

// unknown says that there is no such flag, and which may have been meant.
func (a *app) unknown(e *pflag.NotExistError) string {
	var known []string
	for _, f := range a.shown() {
		known = append(known, f.Name)
	}
	name, dashes := e.GetSpecifiedName(), "--"
	if letters := e.GetSpecifiedShortnames(); letters != "" {
		name, dashes = letters, "-"
		if slices.Contains(known, letters) { // -steps
			return fmt.Sprintf("there is no flag -%s; did you mean --%s?", letters, letters)
		}
	}
	says := fmt.Sprintf("there is no flag %s%s", dashes, name)
	if near := nearest(name, known); near != "" {
		return says + "; did you mean --" + near + "?"
	}
	var others []string
	for _, c := range everyCommand() {
		if c.declare != nil && c.described().flags.Lookup(name) != nil {
			others = append(others, c.name)
		}
	}
	if len(others) > 0 {
		return says + " here; " + strings.Join(others, ", ") + map[bool]string{true: " has one", false: " have one"}[len(others) == 1]
	}
	return says
}
