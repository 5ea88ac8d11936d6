// Command vlmtool trains and runs encoder-free vision-language models.
package main

import (
	"context"
	"io"
	"os"

	"patchwork/tools/vlmtool/internal/cli"
)

func main() {
	os.Exit(run(cli.SignalContext(), os.Args[1:], os.Stdout, os.Stderr))
}

// run runs a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, args, stdout, stderr, rootCommand)
}
