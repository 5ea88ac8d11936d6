package main

import (
	"github.com/spf13/cobra"

	"patchwork/tools/vlmtool/internal/bench"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/eval"
	"patchwork/tools/vlmtool/internal/infer"
	"patchwork/tools/vlmtool/internal/inspect"
	"patchwork/tools/vlmtool/internal/serve"
	"patchwork/tools/vlmtool/internal/train"
	"patchwork/tools/vlmtool/internal/web"
)

// rootCommand is the tree of commands, in the order of help.
func rootCommand(a *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "vlmtool",
		Short: "Train and run vision-language models without an image encoder",
		Long:  "vlmtool trains and runs vision-language models without an image encoder.",
		Example: `  vlmtool train --data 'demo/data/train-*.parquet' --out run
  vlmtool infer --model run --image demo/example.png --prompt "what color is the triangle?"`,
	}
	root.AddCommand(
		train.Command(a), infer.Command(a), serve.Command(a), web.Command(a), eval.Command(a), dataCommand(a), inspect.Command(a), exportCommand(a), fetchCommand(a),
		device.Command(a), bench.Command(a), bench.TuneCommand(a), versionCommand(a), manCommand(a),
	)
	return root
}
