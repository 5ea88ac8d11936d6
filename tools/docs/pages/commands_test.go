package pages

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// notRun are the command lines that are not run, with the reason.
var notRun = []struct {
	line   *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`^make demo$`), "run before this test"},
	{regexp.MustCompile(`^make test$`), "minutes; continuous integration runs it"},
	{regexp.MustCompile(`^make bench-page`), "minutes on a quiet machine"},
	{regexp.MustCompile(`^make gpu-report`), "for a machine with a GPU"},
	{regexp.MustCompile(`gpu-report/run\.sh|tools/gpureport`), "for a machine with a GPU"},
	{regexp.MustCompile(`^\S*vlmtool fetch`), "needs a network"},
	{regexp.MustCompile(`^\S*vlmtool serve`), "serves until it is interrupted"},
	{regexp.MustCompile(`hf://`), "needs a network"},
	{regexp.MustCompile(`^apt-get|^dpkg-deb|^ln -s stamps`), "needs a network"},
	{regexp.MustCompile(`^\S*vlmtool tune`), "minutes, and needs a GPU"},
}

// shortened are command lines that would take minutes or hours, with the flags that are
// added to them.
var shortened = []struct {
	line  *regexp.Regexp
	flags string
}{
	{regexp.MustCompile(`vlmtool train --dry-run`), ""},
	{regexp.MustCompile(`vlmtool train .*smollm2`), "--steps 1 --val-every 0"},
	{regexp.MustCompile(`vlmtool train`), "--steps 20 --val-every 0"},
	{regexp.MustCompile(`vlmtool eval .*demo/`), "--limit 50"},
	{regexp.MustCompile(`vlmtool eval .*--(data|text)`), "--limit 4"},
	{regexp.MustCompile(`vlmtool bench kernels`), "--time-limit 20s"},
}

// commandLines are the command lines of a page: the lines of its fenced blocks without a
// language, or those after a "$ " where there are any.
func commandLines(text string) []string {
	var all []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] != "" {
			continue
		}
		transcript := strings.Contains("\n"+m[2], "\n$ ")
		for line := range strings.Lines(m[2]) {
			line = strings.TrimRight(line, "\n")
			command, isCommand := strings.CutPrefix(line, "$ ")
			if transcript && !isCommand || strings.TrimSpace(line) == "" {
				continue
			}
			if at := regexp.MustCompile(` +# `).FindStringIndex(command); at != nil {
				command = command[:at[0]]
			}
			all = append(all, command)
		}
	}
	return all
}

// TestCommandLines runs the command lines of every page, each page in its own folder, where
// bin and demo are the clone's. It takes some minutes, and make demo must have run. DOCS_COMMANDS=FILE names SmolLM2-135M-Instruct as a GGUF file.
func TestCommandLines(t *testing.T) {
	gguf := os.Getenv("DOCS_COMMANDS")
	if gguf == "" {
		t.Skip("takes minutes; DOCS_COMMANDS=SmolLM2-135M-Instruct.Q4_1.gguf runs it, after make demo")
	}
	all := pages(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		lines := commandLines(all[name])
		if len(lines) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := workspace(t, all[name], gguf)
			for _, line := range lines {
				runLine(t, dir, line)
			}
		})
	}
}

func runLine(t *testing.T, dir, line string) {
	for _, n := range notRun {
		if n.line.MatchString(line) {
			t.Logf("not run, %s: %s", n.reason, line)
			return
		}
	}
	run := line
	for _, s := range shortened {
		if s.line.MatchString(line) {
			run = strings.TrimSpace(line + " " + s.flags)
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-c", run)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	start := time.Now()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", run, err, out)
		return
	}
	t.Logf("%.1fs: %s", time.Since(start).Seconds(), run)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// workspace makes the folder in which a page's command lines run, with the files that a
// reader is assumed to have.
func workspace(t *testing.T, page, gguf string) string {
	t.Helper()
	dir := t.TempDir()
	clone, err := filepath.Abs(root)
	check(t, err)
	for _, name := range []string{"bin", "demo", "Makefile", "tools"} {
		if !exists(filepath.Join(clone, name)) {
			t.Fatalf("there is no %s; run make demo first", name)
		}
		check(t, os.Symlink(filepath.Join(clone, name), filepath.Join(dir, name)))
	}
	check(t, os.MkdirAll(filepath.Join(dir, "docs/how-it-works"), 0o755))
	check(t, os.MkdirAll(filepath.Join(dir, "images/animals/birds"), 0o755))
	for i := range 40 {
		square(t, filepath.Join(dir, "images", fmt.Sprintf("square%02d", i)), i)
	}
	square(t, filepath.Join(dir, "images", "cat"), 40)
	square(t, filepath.Join(dir, "images/animals/birds/adelaide-rosella"), 42)
	square(t, filepath.Join(dir, "cat"), 41)
	check(t, os.WriteFile(filepath.Join(dir, "book.txt"), []byte("It was a bright cold day in April.\n"), 0o644))
	check(t, os.WriteFile(filepath.Join(dir, "messages.json"), []byte(`[{"role": "user", "content": "hello"}]`), 0o644))
	check(t, os.Symlink(gguf, filepath.Join(dir, "SmolLM2-135M-Instruct.Q4_1.gguf")))
	runLine(t, dir, "vlmtool export --quiet --model SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2")
	if !strings.Contains(page, "data import") {
		runLine(t, dir, "vlmtool data import --quiet images --out data --test-fraction 0.1 --prompt 'What is this?'")
		for _, name := range []string{"easyvqa", "stamps"} {
			check(t, os.Symlink("data", filepath.Join(dir, name)))
		}
	}
	return dir
}

// square writes an image of a square with a caption beside it.
func square(t *testing.T, path string, i int) {
	t.Helper()
	colors := []color.RGBA{{220, 30, 30, 255}, {20, 160, 40, 255}, {30, 60, 220, 255}}
	m := image.NewRGBA(image.Rect(0, 0, 96, 80))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(10+i%17, 8+i%13, 50+i, 40+i%29), image.NewUniform(colors[i%3]), image.Point{}, draw.Src)
	f, err := os.Create(path + ".png")
	check(t, err)
	check(t, png.Encode(f, m))
	check(t, f.Close())
	check(t, os.WriteFile(path+".txt", []byte([]string{"A red", "A green", "A blue"}[i%3]+" square.\n"), 0o644))
}

// TestReadmeProgramRuns runs README's program from its own module, with the demo's
// model.
func TestReadmeProgramRuns(t *testing.T) {
	if os.Getenv("DOCS_COMMANDS") == "" {
		t.Skip("DOCS_COMMANDS=1 runs it, after make demo")
	}
	clone, err := filepath.Abs(root)
	check(t, err)
	dir := t.TempDir()
	check(t, os.Symlink(filepath.Join(clone, "demo"), filepath.Join(dir, "demo")))
	sums, err := os.ReadFile(filepath.Join(clone, "go.sum"))
	check(t, err)
	mod, err := os.ReadFile(filepath.Join(clone, "go.mod"))
	check(t, err)
	_, requires, _ := strings.Cut(string(mod), "module patchwork\n")
	mod = []byte("module ask\n" + requires + "\nrequire patchwork v0.0.0\n\nreplace patchwork => " + clone + "\n")
	for name, text := range map[string][]byte{"go.mod": mod, "go.sum": sums, "main.go": []byte(readmeProgram(t))} {
		check(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	c := exec.CommandContext(t.Context(), "go", "run", "-tags", "nodynamic", ".")
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "blue" {
		t.Errorf("README's program: %v\n%s\nwant blue", err, out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
