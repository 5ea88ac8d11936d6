//go:build linux

package main

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCrash is a short make crashtest: a few kills, also of runs from a hub, a full disk, two damaged files, a second
// run.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains for half a minute")
	}
	dir := t.TempDir()
	tool := filepath.Join(dir, "vlmtool")
	if out, err := exec.Command("go", "build", "-o", tool, "../vlmtool").CombinedOutput(); err != nil {
		t.Fatalf("vlmtool could not be built: %v\n%s", err, out)
	}
	l, err := newLab(tool, dir, 16, 60, rand.New(rand.NewPCG(7, 0)), []setting{settings[1], settings[3]})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, c := range []struct {
		name string
		try  func() error
	}{
		{"kills", func() error { return l.kills(6) }},
		{"full disk", l.fullDisk},
		{"damage", func() error { return l.damage(1, 2) }},
		{"second run", l.secondRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.try(); err != nil {
				t.Error(err)
			}
		})
	}
	l.table.print(t.Output())
}
