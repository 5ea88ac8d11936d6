package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/commands.md")

const (
	commandsPage = "../../docs/commands.md"
	// helpMarker ends the part of the page that is written by hand.
	helpMarker = "<!-- From here on written by go test ./tools/vlmtool -run CommandsPage -update. -->\n"
)

// TestCommandsPage: docs/commands.md shows the help of every command.
func TestCommandsPage(t *testing.T) {
	text, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	byHand, _, ok := strings.Cut(string(text), helpMarker)
	if !ok {
		t.Fatalf("%s has no line %q", commandsPage, strings.TrimSpace(helpMarker))
	}
	want := byHand + helpMarker + allHelp(t)
	if string(text) == want {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: go test ./tools/vlmtool -run CommandsPage -update", commandsPage)
	}
	if err := os.WriteFile(commandsPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// allHelp is every command's help in Markdown. The flags of all commands are listed once.
func allHelp(t *testing.T) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n## vlmtool\n\n```text\n%s\n```\n", helpText(t))
	for _, c := range commands(t) {
		if c.Hidden || c.Parent().Name() == "completion" {
			continue
		}
		own, _, ok := strings.Cut(helpText(t, path(c)...), "\n\nGlobal flags:")
		if !ok {
			t.Fatalf("%s --help has no global flags", c.CommandPath())
		}
		fmt.Fprintf(&out, "\n## %s\n\n```text\n%s\n```\n", c.CommandPath(), own)
	}
	return out.String()
}

// helpText is the help of the command at a path.
func helpText(t *testing.T, path ...string) string {
	t.Helper()
	var help, errors bytes.Buffer
	if code := run(t.Context(), append(path, "--help"), &help, &errors); code != 0 {
		t.Fatalf("%q --help: %s", path, errors.String())
	}
	return strings.TrimSpace(help.String())
}
