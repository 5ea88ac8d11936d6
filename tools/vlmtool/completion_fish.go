package main

import (
	"fmt"
	"io"
	"strings"
)

const fishHead = `# fish completion for vlmtool, printed by "vlmtool completion fish"

# __vlmtool_at COMMAND holds where the words so far name that command; of a group, the
# second word counts too.
function __vlmtool_at
    set -l at
    for word in (commandline -opc)[2..]
        switch "$at $word"
            case %s
                set at $word
%s        end
    end
    test "$at" = "$argv"
end

complete -c vlmtool -f
complete -c vlmtool -n '__vlmtool_at ""' -l help -d 'list the commands'
complete -c vlmtool -n '__vlmtool_at ""' -l version -d 'print the version'
`

// fishCompletion writes a script for fish: a line for each flag of each command.
func fishCompletion(w io.Writer) {
	var nested strings.Builder
	for _, g := range groups() {
		fmt.Fprintf(&nested, "            case %s\n                set at \"%s $word\"\n", alternatives(lastWords(g.subs), `"`+g.name+` `, `"`, " "), g.name)
	}
	fmt.Fprintf(w, fishHead, alternatives(lastWords(commands), `" `, `"`, " "), nested.String())
	for _, c := range commands {
		fmt.Fprintf(w, "complete -c vlmtool -n '__vlmtool_at \"\"' -a %s -d %s\n", c.name, fishQuoted(c.about))
	}
	for _, c := range completions() {
		begin := fmt.Sprintf("complete -c vlmtool -n '__vlmtool_at %q'", c.name)
		fmt.Fprintln(w)
		for _, sub := range c.subs {
			fmt.Fprintf(w, "%s -a %s -d %s\n", begin, sub.last(), fishQuoted(sub.about))
		}
		if len(c.subs) == 0 {
			if action := fishAction(c.next); action != " -x" {
				fmt.Fprintf(w, "%s%s\n", begin, strings.Replace(action, " -x", "", 1))
			}
		}
		for _, f := range c.flags {
			_, text := describe(f)
			line := begin + " -l " + f.Name
			if f.Shorthand != "" {
				line += " -s " + f.Shorthand
			}
			if t, ok := takesValue(f); ok {
				line += fishAction(t)
			}
			fmt.Fprintf(w, "%s -d %s\n", line, fishQuoted(text))
		}
	}
}

// fishAction are the options of complete for a value.
func fishAction(t takes) string {
	switch {
	case len(t.words) > 0:
		return " -x -a " + fishQuoted(strings.Join(t.words, " "))
	case t.files:
		return " -r -F"
	case t.folders:
		return " -x -a '(__fish_complete_directories)'"
	}
	return " -x"
}

func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
