package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
)

func init() { cobra.EnableCommandSorting = false }

// Commands are all visible commands of a tree, each before its subcommands.
func Commands(root *cobra.Command) (all []*cobra.Command) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			all = append(append(all, c), Commands(c)...)
		}
	}
	return all
}

// MaxArgs rejects more than n positional arguments.
func MaxArgs(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usage.Errorf("unexpected argument %q; a value with a space or * in it needs quotes", args[n])
		}
		return nil
	}
}

// prepare gives the tree its global flags, errors, help and completion.
func (a *App) prepare(root *cobra.Command) {
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetIn(a.Stdin)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(printHelp)
	root.SetHelpCommand(helpCommand())
	root.PersistentPreRunE = a.start
	a.globalFlags(root.PersistentFlags())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	prepareCommand(root)
}

func prepareCommand(c *cobra.Command) {
	for _, sub := range c.Commands() {
		prepareCommand(sub)
	}
	c.Flags().SortFlags = false
	if c.HasSubCommands() && !c.Runnable() {
		c.Args, c.RunE = cobra.ArbitraryArgs, unknownCommand
		c.Use = c.Name() + " COMMAND"
		c.SuggestionsMinimumDistance = 2
	} else if c.Args == nil || c.Parent().Name() == "completion" {
		c.Args = MaxArgs(0)
		if c.ValidArgsFunction == nil {
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { completeFlag(c, f) })
}

// completeFlag declares what a shell completes for a flag's value: fixed values, files,
// folders or nothing.
func completeFlag(c *cobra.Command, f *pflag.Flag) {
	values := Values(f)
	switch metavar, _ := pflag.UnquoteUsage(f); {
	case values != nil:
		_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	case metavar == "DIR":
		_ = c.MarkFlagDirname(f.Name)
	case metavar != "" && metavar != "PATH" && metavar != "FILE":
		_ = c.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
	}
}

// unknownCommand is the action of a command that only has subcommands.
func unknownCommand(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage.Errorf("no command given; want %s", usage.OneOf(subcommands(c)))
	case c.HasParent():
		return unknown(c, args[0], "")
	}
	return unknown(c, args[0], "vlmtool ")
}

// unknown suggests the commands whose names are near to an unknown one.
func unknown(c *cobra.Command, name, prefix string) error {
	group := strings.TrimPrefix(commandName(c)+" ", " ")
	text := `unknown command "` + terminal.Printable(group+name) + `"`
	near := c.SuggestionsFor(name)
	switch {
	case name != "" && len(near) > 0:
		for i := range near {
			near[i] = prefix + group + near[i]
		}
		return usage.Errorf("%s; did you mean %s?", text, usage.OneOf(near))
	case c.HasParent():
		return usage.Errorf("%s; want %s", text, usage.OneOf(subcommands(c)))
	}
	return usage.Errorf("%s", text)
}

func subcommands(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// misplacedFlag rejects a command's flag before the command's name, where cobra would take
// the next word for the flag's value.
func misplacedFlag(root *cobra.Command, args []string) error {
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return nil
	}
	name, _, _ := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
	global := root.PersistentFlags().Lookup(name)
	if !strings.HasPrefix(args[0], "--") && name != "" {
		global = root.PersistentFlags().ShorthandLookup(name[:1])
	}
	if global != nil {
		return nil
	}
	return usage.Errorf("flag %q comes before the command; write vlmtool COMMAND %s", args[0], terminal.Printable(args[0]))
}
