package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
)

// words splits a command line as a shell does, up to a redirection.
func words(t *testing.T, line string) (all []string) {
	t.Helper()
	var word strings.Builder
	begun, quote := false, rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			begun, quote = true, r
		case r == '<' || r == '>' || r == ')':
			return all
		case r == ' ' && begun:
			all, begun = append(all, word.String()), false
			word.Reset()
		case r != ' ':
			begun = true
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		t.Fatalf("%s: a quote is open", line)
	}
	if begun {
		all = append(all, word.String())
	}
	return all
}

// commands is the tree with every command as a user reaches it.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	root := rootCommand(&cli.App{})
	all := cli.Commands(root)
	if len(all) < 15 {
		t.Fatalf("%d commands", len(all))
	}
	return all
}

// path is a command's name in words, without the program's.
func path(c *cobra.Command) []string { return strings.Fields(c.CommandPath())[1:] }

// launched is what may stand before vlmtool: a setting of the environment, or a launcher.
var launched = regexp.MustCompile(`^(GOMAXPROCS=\d+|mpirun -np \d+) `)

// TestExamples parses the examples of every command's help.
func TestExamples(t *testing.T) {
	for _, c := range commands(t) {
		n := 0
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			n++
			args := words(t, launched.ReplaceAllString(line, ""))
			if len(args) < 2 || args[0] != "vlmtool" {
				t.Errorf("%s: %q does not begin with vlmtool", c.CommandPath(), line)
				continue
			}
			of, rest, err := rootCommand(&cli.App{}).Find(args[1:])
			if err != nil || !strings.HasPrefix(of.CommandPath(), c.CommandPath()) {
				t.Errorf("%s: %q is an example of %s, %v", c.CommandPath(), line, of.CommandPath(), err)
				continue
			}
			root := of.Root()
			root.PersistentFlags().Bool("json", false, "") // a global flag, which Run adds
			if err := of.ParseFlags(rest); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if n == 0 || n > 5 {
			t.Errorf("%s has %d examples", c.CommandPath(), n)
		}
	}
}

// TestHelp: the help of every command has its flags and its examples, in lines that fit.
func TestHelp(t *testing.T) {
	for _, c := range commands(t) {
		got := vlmtool(append(path(c), "--help")...)
		again := vlmtool(append([]string{"help"}, path(c)...)...)
		if got.code != 0 || got.stderr != "" || got != again {
			t.Errorf("%s: --help %+v, help %+v", c.CommandPath(), got, again)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(got.stdout, "--"+f.Name+" ") {
				t.Errorf("%s --help lacks --%s", c.CommandPath(), f.Name)
			}
			if _, text := pflag.UnquoteUsage(f); !f.Hidden && len(text) < 8 {
				t.Errorf("%s --%s has the help %q", c.CommandPath(), f.Name, text)
			}
		})
		for _, wanted := range []string{c.Long, "Usage:", "Examples:\n" + c.Example, "--log-level", "Exit codes:", "130"} {
			if !strings.Contains(got.stdout, wanted) {
				t.Errorf("%s --help lacks %q", c.CommandPath(), wanted)
			}
		}
		for line := range strings.Lines(got.stdout) {
			if n := utf8.RuneCountInString(line); n > 101 && !strings.Contains(line, "vlmtool") {
				t.Errorf("%s --help: a line of %d characters: %s", c.CommandPath(), n, line)
			}
		}
	}
}

// ofGenerator matches warnings about the form that cobra gives all pages.
var ofGenerator = regexp.MustCompile(`tab in filled text|cannot parse date`)

// TestManPages: there is a page for every command with all its flags; mandoc, where it is
// installed, finds nothing wrong.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if got := vlmtool("man", dir); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	mandoc, missing := exec.LookPath("mandoc")
	for _, c := range commands(t) {
		file := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		page, err := os.ReadFile(file)
		require.NoError(t, err)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !bytes.Contains(page, []byte(`\-\-`+f.Name)) && !bytes.Contains(page, []byte("--"+f.Name)) {
				t.Errorf("%s lacks --%s", file, f.Name)
			}
		})
		if missing == nil {
			out, _ := exec.Command(mandoc, "-T", "lint", "-W", "warning", file).CombinedOutput() // it fails for any warning
			for line := range strings.Lines(string(out)) {
				if !ofGenerator.MatchString(strings.TrimSpace(line)) {
					t.Errorf("mandoc: %s", line)
				}
			}
		}
	}
	fetch, err := os.ReadFile(filepath.Join(dir, "vlmtool-fetch.1"))
	require.NoError(t, err)
	if want := "'*.gguf' or 'folder/*'"; !bytes.Contains(bytes.ReplaceAll(fetch, []byte(`\&`), nil), []byte(want)) {
		t.Errorf("vlmtool-fetch.1 lacks %s", want)
	}
	again := filepath.Join(t.TempDir(), "again")
	if got := vlmtool("man", again, "--quiet"); got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, name := range []string{"vlmtool.1", "vlmtool-train.1"} {
		first, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		second, err := os.ReadFile(filepath.Join(again, name))
		require.NoError(t, err)
		if !bytes.Equal(first, second) {
			t.Errorf("%s differs when it is written again", name)
		}
	}
	if missing != nil {
		t.Log("mandoc is not installed: the pages were not checked")
	}
}

// TestCompletion asks for completions as the shells' scripts do, which then keep those
// with the typed prefix.
func TestCompletion(t *testing.T) {
	files := cobra.ShellCompDirectiveDefault
	none, dirs := cobra.ShellCompDirectiveNoFileComp, cobra.ShellCompDirectiveFilterDirs
	for _, c := range []struct {
		line, has, lacks string
		directive        cobra.ShellCompDirective
	}{
		{"tr", "train", "tune", none},
		{"", "bench", "--json", none},
		{"train --pres", "--preset", "--price-per-hour", none},
		{"train --preset sm", "smollm2-135m", "bench", none},
		{"train --preset=sm", "smollm2-135m", "bench", none},
		{"train --attention doc", "document_bidirectional_image", "", none},
		{"train --steps ", "", "", none},
		{"train --log-level ", "warn", "", none},
		{"train --out a", "", "", dirs},
		{"infer --image a", "", "", files},
		{"infer --prompt ", "", "", none},
		{"infer --device v", "vulkan", "gpu", none},
		{"infer ", "", "", none},
		{"eval --control ", "shuffled", "", none},
		{"bench ", "kernels", "train --steps", none},
		{"bench train --re", "--recompute", "--resume", none},
		{"bench --json inf", "infer", "inspect", none},
		{"data import a", "", "", files},
		{"inspect a", "", "--rows", files},
		{"help be", "bench", "kernels", none},
		{"help bench ", "kernels", "train --steps", none},
		{"completion ", "powershell", "", none},
	} {
		got := vlmtool(append([]string{cobra.ShellCompNoDescRequestCmd}, strings.Split(c.line, " ")...)...)
		out, directive, _ := strings.Cut("\n"+got.stdout, "\n:")
		if out += "\n"; got.code != 0 || c.has != "" && !strings.Contains(out, "\n"+c.has+"\n") || c.lacks != "" && strings.Contains(out, "\n"+c.lacks+"\n") ||
			c.has == "" && strings.TrimSpace(out) != "" || directive != fmt.Sprintln(int(c.directive)) {
			t.Errorf("%q gives %+v; want %q, not %q, directive %d", c.line, got, c.has, c.lacks, c.directive)
		}
	}
}

// TestFixedValues: every fixed value of every flag is completed.
func TestFixedValues(t *testing.T) {
	n := 0
	for _, c := range commands(t) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			values := cli.Values(f)
			if values == nil {
				return
			}
			n++
			got := vlmtool(append(append([]string{cobra.ShellCompNoDescRequestCmd}, path(c)...), "--"+f.Name, "")...)
			if want := strings.Join(values, "\n") + "\n:4\n"; got.stdout != want {
				t.Errorf("%s --%s completes %q, want %q", c.CommandPath(), f.Name, got.stdout, want)
			}
		})
	}
	if n < 20 {
		t.Errorf("%d flags have fixed values", n)
	}
}

// TestCompletionScripts: the script of every shell asks vlmtool; bash, where it is
// installed, reads its own.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := vlmtool("completion", shell)
		if got.code != 0 || !strings.Contains(got.stdout, cobra.ShellCompRequestCmd) || got.stderr != "" {
			t.Errorf("%s: exit %d, %q, %.200q", shell, got.code, got.stderr, got.stdout)
		}
		if _, err := exec.LookPath(shell); err != nil || shell == "powershell" {
			continue
		}
		file := filepath.Join(t.TempDir(), shell)
		require.NoError(t, os.WriteFile(file, []byte(got.stdout), 0o644))
		if out, err := exec.Command(shell, "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
}

// TestVersion: --version prints one line, the command everything.
func TestVersion(t *testing.T) {
	if got := vlmtool("--version"); got.code != 0 || strings.Count(got.stdout, "\n") != 1 || !strings.Contains(got.stdout, runtime.Version()) {
		t.Errorf("--version: %+v", got)
	}
	for _, wanted := range []string{"vlmtool ", "built ", "cpu ", "vulkan ", "webgpu ", "vectors ", "OpenBLAS "} {
		if got := vlmtool("version"); got.code != 0 || !strings.Contains(got.stdout, wanted) {
			t.Errorf("version: no %q in %+v", wanted, got)
		}
	}
	got := vlmtool("version", "--json")
	var b build
	if err := json.Unmarshal([]byte(got.stdout), &b); err != nil || strings.Count(got.stdout, "\n") != 1 {
		t.Fatalf("version --json: %v, %+v", err, got)
	}
	if b.Platform != runtime.GOOS+"/"+runtime.GOARCH || b.Go != runtime.Version() || len(b.Backends) != 3 || len(b.Backends[0].Devices) != 1 {
		t.Errorf("version --json: %+v", b)
	}
	for _, backend := range b.Backends {
		if (len(backend.Devices) == 0) == (backend.Reason == "") || !backend.Built && len(backend.Devices) > 0 {
			t.Errorf("%+v", backend)
		}
	}
}
