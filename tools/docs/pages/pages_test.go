// Package pages tests the pages of documentation: their links, paths and targets of make,
// README's program and, with DOCS_COMMANDS set, every command line.
package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../.."

// pages are the Markdown files of the documentation, by their paths from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md"}
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, d fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

var (
	fence   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	inline  = regexp.MustCompile("`([^`\n]+)`")
	inTree  = regexp.MustCompile(`^(shaders|engine|nn|vlm|tools|internal|docs|testdata/golden)/[\w./*-]*$`)
	target  = regexp.MustCompile(`\bmake ([a-z0-9-]+)`)
)

// prose is a page without its fenced blocks.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

// anchor is the name that GitHub gives to a heading.
func anchor(heading string) string {
	heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(heading, " ", "-")
}

// TestLinks: the files and headings that a page links to exist.
func TestLinks(t *testing.T) {
	all := pages(t)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, at, _ := strings.Cut(m[1], "#")
			path := filepath.Join(filepath.Dir(name), file)
			if file == "" {
				path = name
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			} else if at != "" && !hasHeading(all[path], at) {
				t.Errorf("%s links to %s, where there is no such heading", name, m[1])
			}
		}
	}
}

func hasHeading(text, at string) bool {
	for _, m := range heading.FindAllStringSubmatch(prose(text), -1) {
		if anchor(m[1]) == at {
			return true
		}
	}
	return false
}

// TestPaths: files and folders of the tree that a page names exist.
func TestPaths(t *testing.T) {
	for name, text := range pages(t) {
		for _, m := range inline.FindAllStringSubmatch(prose(text), -1) {
			if !inTree.MatchString(m[1]) || strings.Contains(m[1], "NAME") || strings.HasPrefix(m[1], "shaders/x.") {
				continue
			}
			if found, err := filepath.Glob(filepath.Join(root, m[1])); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
}

// TestMakeTargets: targets of make that a page names exist.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, text := range pages(t) {
		code := strings.Join(append(inline.FindAllString(prose(text), -1), commandLines(text)...), "\n")
		for _, m := range target.FindAllStringSubmatch(code, -1) {
			seen++
			if !strings.Contains(string(makefile), "\n"+m[1]+": ") {
				t.Errorf("%s names make %s, which the Makefile does not have", name, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d targets seen", seen)
	}
}

// TestReadmeProgram: README's program is the example that the tests run.
func TestReadmeProgram(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(root, "vlm/generate/example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, tested, ok := strings.Cut(string(example), "package generate_test\n")
	tested, _, ok2 := strings.Cut(tested, "\nfunc Example() {")
	if !ok || !ok2 {
		t.Fatal("the example does not have the expected form")
	}
	program, ok := strings.CutPrefix(readmeProgram(t), "package main\n")
	program, main, ok2 := strings.Cut(program, "\nfunc main() {")
	if !ok || !ok2 || !strings.Contains(main, "ask(") {
		t.Fatal("README's program does not have the expected form")
	}
	if program != tested {
		t.Errorf("README.md's program differs from vlm/generate/example_test.go:\n%s\nwant\n%s", program, tested)
	}
}

func readmeProgram(t *testing.T) string {
	t.Helper()
	for _, m := range fence.FindAllStringSubmatch(pages(t)["README.md"], -1) {
		if m[1] == "go" {
			return m[2]
		}
	}
	t.Fatal("README.md has no program in Go")
	return ""
}
