package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ExitCodes is a line of every help.
const ExitCodes = "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."

const helpWidth = 100

// printHelp writes the help of a command: cobra's parts, with flags under their headings.
func printHelp(c *cobra.Command, _ []string) {
	w := c.OutOrStdout()
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimSpace(c.Long), c.UseLine())
	if c.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if c.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	printFlags(w, c)
	fmt.Fprintf(w, "\n%s\n", ExitCodes)
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "%s COMMAND --help describes a command.\n", c.CommandPath())
	}
}

func printFlags(w io.Writer, c *cobra.Command) {
	var titles []string
	groups := map[string]*pflag.FlagSet{}
	add := func(title string, f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if groups[title] == nil {
			groups[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
			groups[title].SortFlags = false
			titles = append(titles, title)
		}
		groups[title].AddFlag(f)
	}
	global := c.Root().PersistentFlags()
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch title := f.Annotations[heading]; {
		case global.Lookup(f.Name) == f:
		case title != nil:
			add(title[0], f)
		default:
			add("Flags", f)
		}
	})
	global.VisitAll(func(f *pflag.Flag) { add("Global flags", f) })
	for _, title := range titles {
		fmt.Fprintf(w, "\n%s:\n%s", title, groups[title].FlagUsagesWrapped(helpWidth))
	}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Describe a command",
		Long:              "Describes a command with its flags and examples, as COMMAND --help does.",
		Example:           "  vlmtool help train\n  vlmtool help bench kernels",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeCommand,
		RunE: func(c *cobra.Command, args []string) error {
			of := c.Root()
			for _, name := range args {
				next := subcommand(of, name)
				if next == nil {
					return unknown(of, name, "")
				}
				of = next
			}
			return of.Help()
		},
	}
}

// subcommand is the command of that name, nil where there is none.
func subcommand(of *cobra.Command, name string) *cobra.Command {
	for _, c := range of.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func completeCommand(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	of := c.Root()
	for _, name := range args {
		if of = subcommand(of, name); of == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	for _, sub := range of.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
