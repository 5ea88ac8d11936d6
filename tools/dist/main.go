// Command dist builds release archives of vlmtool: the binary with man pages, completions,
// licence and a README. The same commit gives the same bytes.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// target is a system to build for; without cgo vlmtool runs only on the CPU.
type target struct {
	os, arch string
	cgo      bool
	compiler string // of C, for another system than this one; "" = the default
}

const mingw = "x86_64-w64-mingw32-gcc"

var targets = []target{
	{os: "linux", arch: "amd64", cgo: true}, {os: "linux", arch: "arm64"},
	{os: "darwin", arch: "arm64"}, {os: "darwin", arch: "amd64"},
	{os: "windows", arch: "amd64", cgo: true, compiler: mingw},
}

func (t target) String() string { return t.os + "-" + t.arch }

// available is the target without cgo where its compiler is missing.
func (t target) available() target {
	if t.compiler == "" {
		return t
	}
	if _, err := exec.LookPath(t.compiler); err != nil {
		log.Printf("%s runs on the CPU only: there is no %s (Debian: apt install gcc-mingw-w64-x86-64)", t, t.compiler)
		t.cgo, t.compiler = false, ""
	}
	return t
}

// tags leave out WebGPU, whose library is the system's own, where the compiler is for another one.
func (t target) tags() string {
	if t.compiler != "" {
		return "nowebgpu,nodynamic"
	}
	return "nodynamic"
}

// source is the commit that the archives are built from.
type source struct {
	version, commit string
	dirty           bool
	time            time.Time // of the commit, and of every file in the archives
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("dist: ")
	out := pflag.String("out", "dist", "folder for the archives, which is emptied first")
	only := pflag.StringSlice("only", nil, "targets to build, such as linux-amd64; default: all")
	pflag.Parse()
	if err := run(*out, *only); err != nil {
		log.Fatal(err)
	}
}

func run(out string, only []string) error {
	src, err := readSource()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	docs, err := documents(src)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, t := range targets {
		if len(only) > 0 && !slices.Contains(only, t.String()) {
			continue
		}
		name, packed, err := archive(src, t.available(), docs)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if err := os.WriteFile(filepath.Join(out, name), packed, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(packed), name)
		fmt.Printf("%s  %.1f MB\n", filepath.Join(out, name), float64(len(packed))/1e6)
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func readSource() (s source, err error) {
	git := func(args ...string) string {
		if err != nil {
			return ""
		}
		var out []byte
		if out, err = exec.Command("git", args...).Output(); err != nil {
			err = fmt.Errorf("git %s: %w; archives are made from a clone", args[0], err)
		}
		return strings.TrimSpace(string(out))
	}
	s.commit = git("rev-parse", "HEAD")
	s.version = git("describe", "--tags", "--always", "--dirty")
	s.dirty = git("status", "--porcelain", "--untracked-files=no") != ""
	seconds := git("show", "-s", "--format=%ct", "HEAD")
	if err != nil {
		return s, err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	s.time = time.Unix(n, 0).UTC()
	return s, err
}

// build compiles vlmtool and returns the binary.
func build(src source, t target) ([]byte, error) {
	dir, err := os.MkdirTemp("", "dist")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "vlmtool")
	flags := "-s -w -buildid="
	for _, x := range [][2]string{{"version", src.version}, {"commit", src.commit}, {"date", src.time.Format(time.RFC3339)}, {"dirty", strconv.FormatBool(src.dirty)}} {
		flags += " -X patchwork/tools/vlmtool/internal/buildinfo." + x[0] + "=" + x[1]
	}
	c := exec.Command("go", "build", "-tags", t.tags(), "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", file, "./tools/vlmtool")
	cgo := "0"
	if t.cgo {
		cgo = "1"
	}
	c.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED="+cgo)
	if t.compiler != "" {
		c.Env = append(c.Env, "CC="+t.compiler)
	}
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.ReadFile(file)
}

// documents are the other files of an archive, the same for every system. A binary for
// this system writes the man pages and completions.
func documents(src source) ([]entry, error) {
	host, err := build(src, target{os: runtime.GOOS, arch: runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dist")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tool := filepath.Join(dir, "vlmtool")
	if err := os.WriteFile(tool, host, 0o755); err != nil {
		return nil, err
	}
	if out, err := exec.Command(tool, "man", "--quiet", filepath.Join(dir, "man")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("vlmtool man: %w\n%s", err, out)
	}
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	all := []entry{{"LICENSE", 0o644, licence}}
	pages, err := filepath.Glob(filepath.Join(dir, "man", "*.1"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		all = append(all, entry{"man/" + filepath.Base(page), 0o644, text})
	}
	for _, c := range [][2]string{{"bash", "vlmtool.bash"}, {"zsh", "_vlmtool"}, {"fish", "vlmtool.fish"}, {"powershell", "vlmtool.ps1"}} {
		script, err := exec.Command(tool, "completion", c[0]).Output()
		if err != nil {
			return nil, fmt.Errorf("vlmtool completion %s: %w", c[0], err)
		}
		all = append(all, entry{"completions/" + c[1], 0o644, script})
	}
	return all, nil
}

// archive builds for a system and packs: a zip file for Windows, else a tarball.
func archive(src source, t target, docs []entry) (name string, packed []byte, err error) {
	binary, err := build(src, t)
	if err != nil {
		return "", nil, err
	}
	tool := "vlmtool"
	if t.os == "windows" {
		tool += ".exe"
	}
	folder := fmt.Sprintf("vlmtool-%s-%s", src.version, t)
	all := append([]entry{{tool, 0o755, binary}, {"README.md", 0o644, []byte(note(src, t))}}, docs...)
	var b bytes.Buffer
	if t.os == "windows" {
		err = writeZip(&b, folder, src.time, all)
		return folder + ".zip", b.Bytes(), err
	}
	err = writeTar(&b, folder, src.time, all)
	return folder + ".tar.gz", b.Bytes(), err
}
