package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"patchwork/engine"
)

// Gather reads the files that the parts of a run wrote to a folder. A truncated last line
// of a part that was stopped is ignored.
func Gather(dir string) (*Report, error) {
	r := &Report{Format: format}
	g := gatherer{os.DirFS(dir), r}
	if err := g.devices(); err != nil {
		return nil, err
	}
	r.Machine = strings.TrimSpace(g.text("machine.txt"))
	g.peer()
	g.parts()
	r.Conformance = conformance(g.text("conformance.txt"))
	each(g, "products.jsonl", func(_ string, p PeerCase) { r.PeerCases = append(r.PeerCases, p) })
	each(g, "train-*.json", func(_ string, t Train) { r.Train = append(r.Train, t) })
	each(g, "infer-*.json", func(_ string, i Infer) { r.Infer = append(r.Infer, i) })
	each(g, "embedder-*.json", func(_ string, e Embedder) { r.Embedder = append(r.Embedder, e) })
	each(g, "peer-train-*.jsonl", func(_ string, p PeerRun) { r.PeerTrain = append(r.PeerTrain, p) })
	each(g, "peer-decode-*.jsonl", func(_ string, p PeerRun) { r.PeerDecode = append(r.PeerDecode, p) })
	each(g, "peer-embedder-*.jsonl", func(_ string, p PeerRun) { r.PeerPixels = append(r.PeerPixels, p) })
	r.Kernels = kernels(g, "kernels-")
	r.Variants = kernels(g, "variants-")
	each(g, "learn-*.json", func(file string, l Learn) {
		l.DType = strings.TrimSuffix(strings.TrimPrefix(file, "learn-"), ".json")
		r.Learn = append(r.Learn, l)
	})
	r.Goals = goals(r)
	return r, nil
}

// kernels reads the lines of bench kernels from the files PREFIX PRESET-TYPE.jsonl.
func kernels(g gatherer, prefix string) (all []Kernel) {
	each(g, prefix+"*.jsonl", func(file string, k Kernel) {
		name := strings.TrimSuffix(strings.TrimPrefix(file, prefix), ".jsonl")
		if cut := strings.LastIndex(name, "-"); cut > 0 {
			k.Preset, k.DType = name[:cut], name[cut+1:]
		}
		all = append(all, k)
	})
	return all
}

type gatherer struct {
	files fs.FS
	*Report
}

// text is a file's content, "" where there is no file.
func (g gatherer) text(name string) string {
	data, err := fs.ReadFile(g.files, name)
	if err != nil {
		return ""
	}
	return string(data)
}

// each calls use for every JSON object, one per line, in the files that match a pattern.
func each[T any](g gatherer, pattern string, use func(file string, value T)) {
	files, _ := fs.Glob(g.files, pattern) // the patterns are valid constants
	for _, file := range files {
		for line := range strings.Lines(g.text(file)) {
			var value T
			if json.Unmarshal([]byte(line), &value) == nil {
				use(file, value)
			}
		}
	}
}

func (g gatherer) devices() error {
	if g.text("devices.jsonl") == "" {
		return errors.New("devices.jsonl is missing or empty: not an output folder of run.sh, or vlmtool devices failed")
	}
	each(g, "devices.jsonl", func(_ string, d engine.Info) { g.Devices = append(g.Devices, d) })
	chosen := strings.TrimSpace(g.text("device.txt"))
	if i := slices.IndexFunc(g.Devices, func(d engine.Info) bool { return d.Device == chosen }); i >= 0 {
		g.Device = g.Devices[i]
	}
	if g.Device.Device == "" {
		g.Device.Device = chosen
	}
	return nil
}

func (g gatherer) peer() {
	if json.Unmarshal([]byte(g.text("peer.json")), &g.Peer) != nil || g.Peer.Name == "" {
		g.Peer.Why = lastLine(g.text("peer.json.err"))
	}
}

func (g gatherer) parts() {
	each(g, "parts.jsonl", func(_ string, p Part) {
		if p.Code != 0 && p.Code != notStarted {
			// go test writes failures to its output.
			p.Why = cmp.Or(lastLine(g.text(p.Name+".err")), lastLine(g.text(p.Name)))
		}
		g.Parts = append(g.Parts, p)
	})
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return cut(strings.TrimSpace(lines[len(lines)-1]), 300)
}

// cut truncates a text to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// caseLine matches a case's outcome in go test's verbose output:
// "        --- PASS: TestHardware/Kernels/softmax/rows=2 (0.01s)". The tests of
// programs and errors beside Kernels count under their own names.
var caseLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): Test\w+/(?:Kernels/)?([^/\s]+)/(\S+) `)

// conformance counts the outcomes of each kernel's cases. Subtests of a case have lines of
// their own and are not counted.
func conformance(text string) (all []Outcome) {
	index := map[string]int{}
	var last string
	for line := range strings.Lines(text) {
		m := caseLine.FindStringSubmatch(line)
		if m == nil || m[2] == "Kernels" {
			continue
		}
		// A parent's line comes before those of its subtests.
		path := m[2] + "/" + m[3]
		i, ok := index[m[2]]
		if !ok {
			i = len(all)
			index[m[2]], all = i, append(all, Outcome{Kernel: m[2]})
		}
		o := &all[i]
		if last != "" && strings.HasPrefix(path, last+"/") {
			last = path
			continue
		}
		last = path
		switch m[1] {
		case "PASS":
			o.Passed++
		case "SKIP":
			o.Skipped++
		default:
			o.Failed++
			o.Which = append(o.Which, m[3])
		}
	}
	return all
}

// Write writes report.json and report.md to a folder.
func (r *Report) Write(dir string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	var page bytes.Buffer
	r.Markdown(&page)
	for name, content := range map[string][]byte{"report.json": append(data, '\n'), "report.md": page.Bytes()} {
		// A report that is truncated by the end of the run must not replace a complete one.
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", content, 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
