package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/buildinfo"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
)

// manCommand writes man pages; it is hidden, since packages ship them.
func manCommand(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write a man page for every command",
		Long:   "Writes vlmtool.1 and a man page for every command into a folder, and makes the folder if needed.",
		Hidden: true,
		Example: `  # man vlmtool-train then shows a page
  vlmtool man ~/.local/share/man/man1`,
		Args: cli.MaxArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.Errorf("DIR is missing: the folder for the pages")
			}
			return writeManPages(a, c.Root(), args[0])
		},
	}
}

func writeManPages(a *cli.App, root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	day := buildinfo.CommitTime() // the same source gives the same bytes
	if day.IsZero() {
		day = time.Unix(0, 0).UTC()
	}
	root.DisableAutoGenTag = true
	for _, c := range cli.Commands(root) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "*", `\*`) }) // not Markdown
	}
	header := &doc.GenManHeader{Date: &day, Source: "vlmtool " + buildinfo.Read().Version, Manual: "vlmtool"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "vlmtool*.1"))
	switch {
	case err != nil:
		return err
	case a.JSON:
		return a.Result(map[string]any{"pages": len(pages), "out": dir})
	case !a.Quiet:
		fmt.Fprintf(a.Stderr, "%d pages are in %s\n", len(pages), terminal.Printable(dir))
	}
	return nil
}
