package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// words splits a command line as a shell does, without what stands behind a pipe or
// a redirection.
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

// TestExamples: every example in help is a command line that parses.
func TestExamples(t *testing.T) {
	for _, c := range everyCommand() {
		if len(c.examples) == 0 || len(c.examples) > 4 {
			t.Errorf("%s has %d examples", c.name, len(c.examples))
		}
		for _, e := range c.examples {
			line := words(t, strings.TrimPrefix(e.line, "source <("))
			if len(line) < 2 || line[0] != "vlmtool" {
				t.Errorf("%s: %q does not begin with a command", c.name, e.line)
				continue
			}
			of, n := find(line[1:])
			if n == 0 || !strings.HasPrefix(of.name, c.name) {
				t.Errorf("%s: %q is %q's", c.name, e.line, of.name)
				continue
			}
			a := newApp(of.name, nil)
			of.flags(a)
			if err := a.parse(line[1+n:], of.args); err != nil {
				t.Errorf("%s: %v", e.line, err)
			}
		}
	}
}

// TestHelp: help tells of every command and flag, in lines that fit.
func TestHelp(t *testing.T) {
	for _, c := range everyCommand() {
		got := vlmtool(append(c.words(), "--help")...)
		again := vlmtool(append([]string{"help"}, c.words()...)...)
		if got.code != 0 || got.stderr != "" || got != again {
			t.Errorf("%s: --help %+v, help %+v", c.name, got, again)
		}
		for _, f := range c.described().shown() {
			if !strings.Contains(got.stdout, "--"+f.Name) {
				t.Errorf("%s --help does not tell of --%s", c.name, f.Name)
			}
			if _, text := describe(f); len(text) < 8 {
				t.Errorf("%s --%s says %q of itself", c.name, f.Name, text)
			}
		}
		for _, wanted := range append([]string{"Usage:", "Examples:", "Exit codes:", "130"}, c.examples[0].line) {
			if !strings.Contains(got.stdout, wanted) {
				t.Errorf("%s --help lacks %q", c.name, wanted)
			}
		}
		for line := range strings.Lines(got.stdout) {
			if n := utf8.RuneCountInString(line); n > helpWidth+1 && !strings.Contains(line, "vlmtool") {
				t.Errorf("%s --help: a line of %d characters: %s", c.name, n, line)
			}
		}
	}
}

// TestManPages: there is a page for every command, with every flag, and mandoc has
// nothing to say about it.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if got := vlmtool("man", dir); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	mandoc, missing := exec.LookPath("mandoc")
	pages := 1
	for _, c := range everyCommand() {
		pages++
		file := filepath.Join(dir, c.page()+".1")
		page, err := os.ReadFile(file)
		must(t, err)
		for _, f := range c.described().shown() {
			if !bytes.Contains(page, []byte(roff("--"+f.Name))) {
				t.Errorf("%s lacks --%s", file, f.Name)
			}
		}
		if missing == nil {
			out, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", file).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("mandoc: %v\n%s", err, out)
			}
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.1"))
	must(t, err)
	if len(found) != pages {
		t.Errorf("%d pages, want %d", len(found), pages)
	}
	if missing != nil {
		t.Log("mandoc is not installed: the pages were not checked")
	}
}

// TestCompletionsKnowAll: every command, flag and fixed value is in every script.
func TestCompletionsKnowAll(t *testing.T) {
	for _, shell := range shells {
		script := vlmtool("completion", shell).stdout
		flag := map[string]string{"bash": "--", "zsh": "--", "fish": "-l "}[shell]
		for _, c := range everyCommand() {
			if !strings.Contains(script, c.last()) {
				t.Errorf("%s: no %s", shell, c.name)
			}
			for _, f := range c.described().shown() {
				if !strings.Contains(script, flag+f.Name) {
					t.Errorf("%s: no --%s of %s", shell, f.Name, c.name)
				}
				if all := strings.Join(offers(f), " "); !strings.Contains(script, all) {
					t.Errorf("%s: no %q for --%s of %s", shell, all, f.Name, c.name)
				}
			}
		}
	}
}

// TestCompletions asks the shells that are installed what they complete.
func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a picture.png"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "a folder"), 0o755))
	for _, shell := range shells {
		must(t, os.WriteFile(filepath.Join(dir, shell), []byte(vlmtool("completion", shell).stdout), 0o644))
	}
	ask := map[string]string{
		"bash": `source ./bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vlmtool; printf '%s\n' "${COMPREPLY[@]}"`,
		"fish": `source ./fish; complete -C(string join ' ' -- $argv) | string split -f1 \t; true`,
	}
	for _, c := range []struct{ line, has, lacks string }{
		{"vlmtool tr", "train", "tune"},
		{"vlmtool ", "bench", "--json"},
		{"vlmtool train --pres", "--preset", "--price-per-hour"},
		{"vlmtool train --preset sm", "smollm2-135m", "shapes"},
		{"vlmtool train --attention doc", "document_bidirectional_image", "causal"},
		{"vlmtool train --steps ", "", "a folder"},
		{"vlmtool train --out a", "a folder", "a picture.png"},
		{"vlmtool infer --image a", "a picture.png", ""},
		{"vlmtool infer --device v", "vulkan", "cpu"},
		{"vlmtool bench ", "kernels", "train --steps"},
		{"vlmtool bench train --re", "--recompute", "--resume"},
		{"vlmtool bench --json inf", "infer", "inspect"},
		{"vlmtool data import a", "a picture.png", ""},
		{"vlmtool inspect a", "a picture.png", "--rows"},
		{"vlmtool help be", "bench", "train"},
		{"vlmtool completion ", "zsh", "a folder"},
	} {
		for shell, script := range ask {
			if _, err := exec.LookPath(shell); err != nil {
				continue
			}
			typed := strings.Split(c.line, " ")
			command := exec.Command(shell, append([]string{"-c", script}, typed...)...)
			if shell == "bash" {
				command = exec.Command(shell, append([]string{"-c", script, "bash"}, typed...)...)
			}
			command.Dir = dir
			out, err := command.CombinedOutput()
			got := strings.NewReplacer(`\ `, " ", "/\n", "\n").Replace(string(out))
			if err != nil || c.has != "" && !strings.Contains("\n"+got, "\n"+c.has+"\n") || c.lacks != "" && strings.Contains("\n"+got, "\n"+c.lacks+"\n") {
				t.Errorf("%s: %q gives %q, %v; want %q and not %q", shell, c.line, got, err, c.has, c.lacks)
			}
		}
	}
	if _, err := exec.LookPath("zsh"); err == nil {
		out, err := exec.Command("zsh", "-f", "-c", "autoload -Uz compinit && compinit -u -D && source "+filepath.Join(dir, "zsh")+" && print ${_comps[vlmtool]}").CombinedOutput()
		if err != nil || string(out) != "_vlmtool\n" {
			t.Errorf("zsh: %q, %v", out, err)
		}
	}
}

// TestNearest checks what a mistyped word is taken for.
func TestNearest(t *testing.T) {
	known := []string{"train", "infer", "inspect", "steps", "seq-len", "max-new-tokens", "smollm2-135m"}
	for _, c := range []struct{ word, want string }{
		{"trian", "train"}, {"trin", "train"}, {"Train", "train"}, {"setps", "steps"}, {"step", "steps"}, {"seqlen", "seq-len"}, {"max-tokens", ""},
		{"max-new-token", "max-new-tokens"}, {"smollm", "smollm2-135m"}, {"smollm2-135", "smollm2-135m"}, {"gpt", ""}, {"x", ""}, {"", ""}, {"écouter", ""},
	} {
		if got := nearest(c.word, known); got != c.want {
			t.Errorf("nearest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}

// TestVersion: a line for people who ask by a flag, everything for the others.
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
