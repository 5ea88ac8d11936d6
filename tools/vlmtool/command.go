package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// command is one of vlmtool's, or one of a command's own. Help, completions and man
// pages tell what stands here and what its flags say of themselves.
type command struct {
	name     string // as it is typed: "train", "bench kernels"
	usage    string // what stands behind the name
	about    string // what it does, in a line
	text     string // the same in a few sentences
	examples []example
	args     positional
	declare  func(a *app) action // nil where there are only commands of its own
	subs     []command
}

// example is a command line that works as it stands, and what it does.
type example struct{ line, about string }

// action is what a command does once its flags are read.
type action func(ctx context.Context) error

// positional is what a command takes besides flags.
type positional struct {
	metavar string   // PATH or FILE, DIR; others are not completed
	most    int      // how many; 0 = none
	words   []string // all that it may be
}

const many = 1 << 30

// commands is filled by init, as help lists them.
var commands []command

func init() {
	commands = []command{
		trainCommand, inferCommand, evalCommand, dataCommand, inspectCommand, exportCommand, fetchCommand,
		devicesCommand, benchCommand, tuneCommand, versionCommand, helpCommand, completionCommand, manCommand,
	}
}

// words are a command's name as it is typed, word by word.
func (c command) words() []string { return strings.Fields(c.name) }

// last is the word of a command's name that its group does not have.
func (c command) last() string { return c.words()[len(c.words())-1] }

// page is the command's name with dashes, that of its man page.
func (c command) page() string { return "vlmtool-" + strings.ReplaceAll(c.name, " ", "-") }

// flags declares the command's flags, and everyone's.
func (c command) flags(a *app) action {
	act := c.declare(a)
	a.commonFlags()
	return act
}

// described is the command's flags, to be told of.
func (c command) described() *app {
	a := newApp(c.name, nil)
	if c.declare == nil {
		a.commonFlags()
	} else {
		c.flags(a)
	}
	return a
}

// everyCommand is all of them, each before its own.
func everyCommand() (all []command) {
	for _, c := range commands {
		all = append(append(all, c), c.subs...)
	}
	return all
}

// find is the command that the words begin with, and how many of them are its name.
func find(words []string) (found command, n int) {
	for _, c := range everyCommand() {
		if w := c.words(); len(w) > n && len(words) >= len(w) && slices.Equal(w, words[:len(w)]) {
			found, n = c, len(w)
		}
	}
	return found, n
}

// lastWords are the last words of commands' names.
func lastWords(all []command) (out []string) {
	for _, c := range all {
		out = append(out, c.last())
	}
	return out
}

// choose finds the command of a group that the arguments name, also behind flags.
func (c command) choose(args []string) (chosen command, rest []string, err error) {
	all := newApp(c.name, args)
	all.commonFlags()
	for _, sub := range c.subs {
		all.flags.AddFlagSet(sub.described().flags)
	}
	all.flags.SetInterspersed(false)
	err = all.read(args)
	if asked := all.asked(); asked != nil || err != nil {
		return c, nil, cmp.Or(asked, err)
	}
	if all.flags.NArg() == 0 {
		return c, nil, usagef("%s what? %s", c.name, oneOf(lastWords(c.subs)))
	}
	name, at := all.flags.Arg(0), len(args)-all.flags.NArg()
	for _, sub := range c.subs {
		if sub.last() == name {
			return sub, slices.Concat(args[:at], args[at+1:]), nil
		}
	}
	return c, nil, usagef("there is no command %q%s", c.name+" "+name, didYouMean(name, lastWords(c.subs), c.name+" "))
}
