package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

var shells = []string{"bash", "zsh", "fish"}

var completionCommand = command{
	name: "completion", usage: "bash|zsh|fish", about: "print a script that completes commands, flags and their values",
	text: "Prints a script that completes vlmtool's commands, their flags, the values of flags that have a fixed set, and files and folders elsewhere.",
	examples: []example{
		{"vlmtool completion bash > ~/.local/share/bash-completion/completions/vlmtool", "bash, from the next shell on (the folder must be there)"},
		{"source <(vlmtool completion zsh)", "zsh, this shell; in ~/.zshrc behind compinit, every one"},
		{"vlmtool completion fish > ~/.config/fish/completions/vlmtool.fish", "fish"},
	},
	args: positional{metavar: "SHELL", most: 1, words: shells},
	declare: func(a *app) action {
		return func(context.Context) error {
			switch shell := a.flags.Arg(0); shell {
			case "bash":
				bashCompletion(a.stdout)
			case "zsh":
				zshCompletion(a.stdout)
			case "fish":
				fishCompletion(a.stdout)
			case "":
				return usagef("completion for which shell? %s", oneOf(shells))
			default:
				return usagef("there is no completion for %q%s", shell, didYouMean(shell, shells, ""))
			}
			return nil
		}
	},
}

// takes is what a shell offers for a value: words, or the paths of its metavariable.
type takes struct {
	words          []string
	files, folders bool
}

func taken(metavar string, words []string) takes {
	return takes{words: words, files: slices.Contains([]string{"PATH", "FILE"}, metavar), folders: metavar == "DIR"}
}

// completed is what a shell may complete behind a command's name.
type completed struct {
	command
	flags []*pflag.Flag
	next  takes // the next word that is no flag
}

// completions are those of every command.
func completions() (all []completed) {
	for _, c := range everyCommand() {
		next := taken(c.args.metavar, c.args.words)
		switch {
		case len(c.subs) > 0:
			next.words = lastWords(c.subs)
		case c.name == "help":
			next.words = lastWords(commands)
		}
		all = append(all, completed{c, c.described().shown(), next})
	}
	return all
}

func (c completed) flagNames() (all []string) {
	for _, f := range c.flags {
		all = append(all, "--"+f.Name)
		if f.Shorthand != "" {
			all = append(all, "-"+f.Shorthand)
		}
	}
	return all
}

// takesValue says what a flag takes; ok is false for a switch.
func takesValue(f *pflag.Flag) (t takes, ok bool) {
	metavar, _ := describe(f)
	return taken(metavar, offers(f)), f.Value.Type() != "bool"
}

// groups are the commands that only have others.
func groups() (all []command) {
	for _, c := range commands {
		if len(c.subs) > 0 {
			all = append(all, c)
		}
	}
	return all
}

const bashHead = `# bash completion for vlmtool, printed by "vlmtool completion bash"

_vlmtool_paths() { # -f or -d
	local path
	compopt -o filenames 2>/dev/null
	while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$1" -- "$cur")
}

_vlmtool() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= flags= paths= i
	COMPREPLY=()
	if [[ $cur == = ]]; then # --flag=
		cur=
	elif [[ $prev == = ]]; then # --flag=val
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "$command ${COMP_WORDS[i]}" in
`

// bashCompletion writes a script for bash, which knows no colons or equals signs in
// words: they stand as words of their own.
func bashCompletion(w io.Writer) {
	fmt.Fprint(w, bashHead)
	fmt.Fprintf(w, "\t\t%s) command=${COMP_WORDS[i]} ;;\n", alternatives(lastWords(commands), `" `, `"`, " | "))
	for _, g := range groups() {
		fmt.Fprintf(w, "\t\t%s) command=\"%s ${COMP_WORDS[i]}\" ;;\n", alternatives(lastWords(g.subs), `"`+g.name+` `, `"`, " | "), g.name)
	}
	fmt.Fprint(w, "\t\tesac\n\tdone\n\tcase \"$command $prev\" in\n")
	for _, c := range completions() {
		for _, f := range c.flags {
			t, ok := takesValue(f)
			if !ok {
				continue
			}
			do := "return"
			switch {
			case len(t.words) > 0:
				do = "words='" + strings.Join(t.words, " ") + "'"
			case t.files:
				do = "paths=-f"
			case t.folders:
				do = "paths=-d"
			}
			fmt.Fprintf(w, "\t\"%s --%s\") %s ;;\n", c.name, f.Name, do)
		}
	}
	fmt.Fprintf(w, "\t*)\n\t\tcase $command in\n\t\t'') words='%s' flags='--help --version' ;;\n", strings.Join(lastWords(commands), " "))
	for _, c := range completions() {
		paths := ""
		if c.next.files {
			paths = " paths=-f"
		} else if c.next.folders {
			paths = " paths=-d"
		}
		fmt.Fprintf(w, "\t\t'%s') words='%s' flags='%s'%s ;;\n", c.name, strings.Join(c.next.words, " "), strings.Join(c.flagNames(), " "), paths)
	}
	fmt.Fprint(w, `		esac
		[[ $words$paths && $cur != -* ]] || words=$flags paths=
		;;
	esac
	[[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$cur"))
	[[ -z $paths ]] || _vlmtool_paths "$paths"
}

complete -F _vlmtool vlmtool
`)
}

// alternatives are the patterns of a case.
func alternatives(words []string, before, after, between string) string {
	var all []string
	for _, word := range words {
		all = append(all, before+word+after)
	}
	return strings.Join(all, between)
}
