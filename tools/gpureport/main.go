// Command gpureport writes report.json and report.md from the output folder of run.sh, which
// is in make gpu-report's bundle, into the same folder or another one:
//
//	gpureport report [engine/vulkan/testdata/reports/NAME]
//
// The second form is for reports that are committed.
package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"patchwork/tools/internal/report"
)

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 || os.Args[1][:min(1, len(os.Args[1]))] == "-" {
		fmt.Fprintln(os.Stderr, "usage: gpureport FROM [TO]\nFROM is the output folder of run.sh, TO the folder for report.json and report.md (default FROM)")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "gpureport:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	r, err := report.Gather(from)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	// A report that is written again keeps its version and date.
	r.Version, r.Date = version(), time.Now().UTC().Format(time.DateOnly)
	if earlier, err := report.Read(os.DirFS(from), "report.json"); err == nil && from != to {
		r.Version, r.Date = cmp.Or(earlier.Version, r.Version), cmp.Or(earlier.Date, r.Date)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return r.Write(to)
}

// version is the revision that this command was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
