//go:build linux

// Command crashtest tests that training survives crashes: it kills runs of vlmtool train at
// random moments, fills their disk, damages their checkpoints and interrupts them, resumes
// them, and compares the results with those of undisturbed runs bit for bit.
//
//	go run ./tools/crashtest --vlmtool bin/vlmtool
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

func main() {
	tool := pflag.String("vlmtool", "bin/vlmtool", "path of vlmtool")
	kills := pflag.Int("kills", 50, "number of kills")
	seed := pflag.Uint64("seed", 1, "random seed")
	steps := pflag.Int("steps", 60, "steps of a run")
	rows := pflag.Int("rows", 60, "rows of the data")
	dir := pflag.String("dir", "", "folder for the runs, which are kept; default: a temporary folder")
	pflag.Parse()
	if *kills < 1 || *steps < 12 || *rows < 20 || pflag.NArg() > 0 {
		fmt.Fprint(os.Stderr, "usage: crashtest [flags], with at least 12 steps, 20 rows and one kill\n", pflag.CommandLine.FlagUsages())
		os.Exit(2)
	}
	if err := runAll(*tool, *dir, *kills, *steps, *rows, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "crashtest:", err)
		os.Exit(1)
	}
}

func runAll(tool, dir string, kills, steps, rows int, seed uint64) error {
	if dir == "" {
		temp, err := os.MkdirTemp("", "crashtest-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	if !exists(tool) {
		return fmt.Errorf("%s does not exist; run make", tool)
	}
	tool, err := filepath.Abs(tool)
	if err != nil {
		return err
	}
	l, err := newLab(tool, dir, steps, rows, rand.New(rand.NewPCG(seed, 0)), settings)
	if err != nil {
		return err
	}
	defer l.close()
	defer l.table.print(os.Stdout)
	for _, try := range []func() error{
		func() error { return l.kills(kills) },
		l.signals, l.secondRun, l.fullDisk,
		func() error { return l.damage(len(damages), all) },
		l.allDamaged,
	} {
		if err := try(); err != nil {
			return err
		}
	}
	return nil
}
