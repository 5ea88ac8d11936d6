package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/engine/vulkan"
	"patchwork/shaders"
)

// table is what a chip's compiler made of kernels.
type table struct {
	Chip   string `json:"chip"` // "navi31"
	Device string `json:"device"`
	Driver string `json:"driver"`
	Class  string `json:"class"`
	Rows   []row  `json:"rows"`
}

// row is one pipeline.
type row struct {
	Kernel    string   `json:"kernel"`
	Variant   string   `json:"variant,omitempty"`
	Entry     string   `json:"entry,omitempty"` // "" = "main"
	Constants []uint32 `json:"constants,omitempty"`
	// Required is the subgroup size that the pipeline requires, Subgroup the one that it has.
	Required int    `json:"required_subgroup,omitempty"`
	Subgroup int    `json:"subgroup,omitempty"`
	Chosen   bool   `json:"chosen"`
	Work     string `json:"work"` // the first work that has it

	Columns  map[string]float64 `json:"columns"`
	Compiler []vulkan.Statistic `json:"compiler,omitempty"`
	Seconds  float64            `json:"compile_seconds,omitempty"`
}

// id is the variant's name: "matmul.tile64".
func (r row) id() string { return strings.TrimSuffix(r.Kernel+"."+r.Variant, ".") }

// name is the variant with its entry point: "softmax.rows (sums)".
func (r row) name() string {
	if r.Entry == "" {
		return r.id()
	}
	return r.id() + " (" + r.Entry + ")"
}

// key tells pipelines of a table apart.
func (r row) key() string { return fmt.Sprint(r.name(), r.Constants, r.Required) }

// inMemory names what of the pipeline is not in registers, "" where everything is.
func (r row) inMemory() string {
	var found []string
	for _, name := range memoryColumns {
		if v := r.Columns[name]; v > 0 {
			found = append(found, fmt.Sprintf("%s %.0f", name, v))
		}
	}
	return strings.Join(found, ", ")
}

// chip is the short name of a chip in a device's name: "Null hardware (RADV NAVI31)" is
// "navi31".
func chip(info engine.Info) string {
	name, detail, _ := strings.Cut(strings.TrimSuffix(info.Name, ")"), " (")
	if words := strings.Fields(detail); len(words) == 2 {
		return strings.ToLower(words[1])
	}
	return name
}

// compile makes the table of a selection: every pipeline as the engine makes it, and those
// that require a subgroup size, of cooperative matrices, with the other sizes too. quick
// leaves out what the assembly shows.
func compile(c *vulkan.Compiler, s selection, sizes []int, quick bool, progress func(done, all int, name string)) (table, error) {
	info := c.Info()
	t := table{Chip: chip(info), Device: info.Name, Driver: info.Driver, Class: className(info.Class)}
	recordings, err := s.record(info)
	if err != nil {
		return t, err
	}
	done := map[string]bool{}
	add := func(uses []use) error {
		for i, u := range uses {
			progress(i+1, len(uses), u.kernel.ID(u.variant))
			rows, err := compileUse(c, u, quick)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if !done[r.key()] {
					done[r.key()], t.Rows = true, append(t.Rows, r)
				}
			}
		}
		return nil
	}
	uses, err := s.uses(info, recordings)
	if err == nil {
		err = add(uses)
	}
	if err != nil || !slices.ContainsFunc(uses, use.sized) {
		return t, err
	}
	for _, size := range sizes {
		if err := c.SetSubgroupSize(size); err != nil {
			return t, fmt.Errorf("--subgroup-sizes: %w", err)
		}
		if uses, err = s.uses(c.Info(), recordings); err != nil {
			return t, err
		}
		if err := add(slices.DeleteFunc(uses, func(u use) bool { return !u.sized() })); err != nil {
			return t, err
		}
	}
	return t, nil
}

// sized reports whether the pipeline requires a subgroup size.
func (u use) sized() bool {
	return u.variant.Cooperative != nil && u.variant.Cooperative.Scope == shaders.ScopeSubgroup
}

// subgroupSizes are the sizes that a pipeline may require.
func subgroupSizes(l engine.Limits) (sizes []int) {
	for size := max(l.MinSubgroupSize, 1); size <= l.MaxSubgroupSize; size *= 2 {
		sizes = append(sizes, size)
	}
	return sizes
}

func compileUse(c *vulkan.Compiler, u use, quick bool) ([]row, error) {
	compiled, err := c.Compile(u.kernel, u.variant, u.params, false)
	if err != nil {
		return nil, err
	}
	var listed []vulkan.Compiled // another time, since listings make compiling slower
	if !quick {
		if listed, err = c.Compile(u.kernel, u.variant, u.params, true); err != nil {
			return nil, err
		}
	}
	var rows []row
	for i, p := range compiled {
		assembly := ""
		if !quick && len(listed[i].Texts) > 0 {
			texts := listed[i].Texts
			assembly = texts[len(texts)-1].Content
		}
		r := row{
			Kernel: u.kernel.Name, Variant: u.variant.Name, Entry: p.Entry, Constants: p.Constants, Required: p.Required, Subgroup: p.SubgroupSize,
			Chosen: u.chosen, Work: u.work, Columns: normalised(p.Statistics, assembly), Compiler: p.Statistics, Seconds: p.Time.Seconds(),
		}
		if r.Entry == "main" {
			r.Entry = ""
		}
		if _, ok := r.Columns["shared_bytes"]; !ok {
			if n, err := u.kernel.Requirements(u.variant); err == nil {
				r.Columns["shared_bytes"] = float64(n.WorkgroupMemory)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// readBefore reads the tables in a directory, by their chips.
func readBefore(dir string) (map[string]table, error) {
	before := map[string]table{}
	if dir == "" {
		return before, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("--before %s: it has no table", dir)
	}
	for _, f := range files {
		t, err := readTable(f)
		if err != nil {
			return nil, err
		}
		before[t.Chip] = t
	}
	return before, nil
}
