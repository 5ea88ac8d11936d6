package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

var helpCommand = command{
	name: "help", usage: "[COMMAND]", about: "tell how a command is used",
	text:     "Tells what a command does, with examples and all its flags, as COMMAND --help does.",
	examples: []example{{"vlmtool help train", ""}, {"vlmtool help bench kernels", ""}},
	args:     positional{metavar: "COMMAND", most: 2},
	declare: func(a *app) action {
		return func(context.Context) error {
			words := a.flags.Args()
			if len(words) == 0 {
				printCommands(a.stdout)
				return nil
			}
			c, n := find(words)
			switch {
			case n == 0:
				return usagef("there is no command %q%s", words[0], didYouMean(words[0], lastWords(commands), ""))
			case n < len(words):
				return usagef("there is no command %q%s", strings.Join(words, " "), didYouMean(words[n], lastWords(c.subs), c.name+" "))
			}
			printHelp(a.stdout, c)
			return nil
		}
	},
}

// exitCodes are every command's.
var exitCodes = []struct {
	code int
	when string
}{
	{0, "done"},
	{exitFailed, "failed; one line on standard error says why"},
	{exitUsage, "wrong usage"},
	{exitInterrupted, "interrupted; train saves a checkpoint first"},
}

const (
	tagline   = "vlmtool trains and asks vision-language models without an image encoder."
	helpWidth = 100
)

func printCommands(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  vlmtool COMMAND [flags]\n\nCommands:\n", tagline)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nvlmtool help COMMAND tells more. vlmtool --version prints the version.\n")
}

// printHelp writes what there is to tell about a command.
func printHelp(w io.Writer, c command) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  vlmtool %s %s\n", wrapped(c.text, 0, helpWidth), c.name, c.usage)
	if len(c.subs) > 0 {
		fmt.Fprint(w, "\nCommands:\n")
		for _, sub := range c.subs {
			fmt.Fprintf(w, "  %-11s %s\n", sub.last(), sub.about)
		}
	}
	fmt.Fprint(w, "\nExamples:\n")
	for _, e := range c.examples {
		if e.about != "" {
			fmt.Fprintf(w, "  # %s\n", e.about)
		}
		fmt.Fprintf(w, "  %s\n", e.line)
	}
	c.described().eachGroup(func(title string, flags []*pflag.Flag) {
		fmt.Fprintf(w, "\n%s:\n", title)
		for _, f := range flags {
			printFlag(w, f)
		}
	})
	fmt.Fprint(w, "\nExit codes:\n")
	for _, e := range exitCodes {
		fmt.Fprintf(w, "  %-4d %s\n", e.code, e.when)
	}
}

// eachGroup goes through the flags under their headings.
func (a *app) eachGroup(tell func(title string, flags []*pflag.Flag)) {
	flags := a.shown()
	if len(a.groups) > 0 && a.groups[0].first > 0 {
		tell("Flags", flags[:a.groups[0].first])
	}
	for i, g := range a.groups {
		end := len(flags)
		if i+1 < len(a.groups) {
			end = a.groups[i+1].first
		}
		if g.first < end {
			tell(g.title, flags[g.first:end])
		}
	}
}

// flagName is a flag as it is typed, with the name of its value.
func flagName(f *pflag.Flag) string {
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if metavar, _ := describe(f); metavar != "" {
		name += " " + metavar
	}
	return name
}

func printFlag(w io.Writer, f *pflag.Flag) {
	const column = 26
	_, text := describe(f)
	name := "  " + flagName(f)
	if utf8.RuneCountInString(name) > column-2 {
		fmt.Fprintf(w, "%s\n%s%s\n", name, strings.Repeat(" ", column), wrapped(text, column, helpWidth))
		return
	}
	fmt.Fprintf(w, "%-*s%s\n", column, name, wrapped(text, column, helpWidth))
}

// wrapped breaks a text into lines of a width, all but the first indented.
func wrapped(text string, indent, width int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
