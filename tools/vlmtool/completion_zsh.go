package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// zshCompletion writes a script for zsh: a function for each command, which hands its
// flags to _arguments.
func zshCompletion(w io.Writer) {
	fmt.Fprint(w, "#compdef vlmtool\n# zsh completion for vlmtool, printed by \"vlmtool completion zsh\"\n")
	for _, c := range completions() {
		if len(c.subs) > 0 {
			zshGroup(w, zshName(c.name), c.subs, c.flags)
			continue
		}
		fmt.Fprintf(w, "\n%s() {\n\t_arguments -s -S", zshName(c.name))
		zshFlags(w, c.flags)
		switch action := zshAction(c.next); {
		case c.args.most > 1 && c.name != "help":
			fmt.Fprintf(w, " \\\n\t\t'*:%s:%s'", c.args.metavar, action)
		case c.args.most > 0:
			fmt.Fprintf(w, " \\\n\t\t'1:%s:%s'", c.args.metavar, action)
		}
		fmt.Fprint(w, "\n}\n")
	}
	zshGroup(w, "_vlmtool", commands, nil)
	fmt.Fprint(w, `
if [ "$funcstack[1]" = _vlmtool ]; then
	_vlmtool "$@"
else
	compdef _vlmtool vlmtool
fi
`)
}

func zshName(command string) string { return "_vlmtool_" + strings.ReplaceAll(command, " ", "_") }

// zshGroup writes the function that completes a command's name and hands what stands
// behind it to the command's own function.
func zshGroup(w io.Writer, name string, all []command, flags []*pflag.Flag) {
	fmt.Fprintf(w, "\n%s() {\n\tlocal -a commands\n\tlocal context state state_descr line\n\ttypeset -A opt_args\n\tcommands=(\n", name)
	for _, c := range all {
		fmt.Fprintf(w, "\t\t'%s:%s'\n", c.last(), zshQuoted(c.about))
	}
	fmt.Fprint(w, "\t)\n\t_arguments -C")
	zshFlags(w, flags)
	fmt.Fprint(w, " \\\n\t\t'1: :->command' \\\n\t\t'*:: :->rest'\n\tcase $state in\n\tcommand) _describe -t commands command commands ;;\n\trest)\n\t\tcase $words[1] in\n")
	for _, c := range all {
		fmt.Fprintf(w, "\t\t%s) %s ;;\n", c.last(), zshName(c.name))
	}
	fmt.Fprint(w, "\t\tesac\n\t\t;;\n\tesac\n}\n")
}

func zshFlags(w io.Writer, flags []*pflag.Flag) {
	for _, f := range flags {
		metavar, text := describe(f)
		several := ""
		if strings.HasSuffix(f.Value.Type(), "Array") || metavar == "" {
			several = "*"
		}
		if f.Shorthand != "" {
			fmt.Fprintf(w, " \\\n\t\t'%s-%s[%s]'", several, f.Shorthand, zshQuoted(text))
		}
		fmt.Fprintf(w, " \\\n\t\t'%s--%s", several, f.Name)
		if t, ok := takesValue(f); ok {
			fmt.Fprintf(w, "=[%s]:%s:%s'", zshQuoted(text), metavar, zshAction(t))
		} else {
			fmt.Fprintf(w, "[%s]'", zshQuoted(text))
		}
	}
}

func zshAction(t takes) string {
	switch {
	case len(t.words) > 0:
		return "(" + strings.Join(t.words, " ") + ")"
	case t.files:
		return "_files"
	case t.folders:
		return "_files -/"
	}
	return " " // a message, nothing to choose
}

// zshQuoted is a text inside single quotes and _arguments' brackets.
func zshQuoted(s string) string {
	return strings.NewReplacer(`'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`).Replace(s)
}
