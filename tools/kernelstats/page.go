package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// writePage writes docs/kernel-statistics.md from tables of chips: changed figures beside
// those of the tables before, and the times of the file, if it is named.
func writePage(w io.Writer, files []string, beforeDir, timesFile string) error {
	if len(files) == 0 {
		return fmt.Errorf("--page wants the files of tables")
	}
	before, err := readBefore(beforeDir)
	if err != nil {
		return err
	}
	var tables []table
	for _, f := range files {
		t, err := readTable(f)
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	fmt.Fprint(w, preface)
	for _, c := range columns {
		if c.about != "" {
			fmt.Fprintf(w, "- **%s**: %s.\n", c.title, c.about)
		}
	}
	writeSummary(w, tables, before)
	if timesFile != "" {
		times, err := os.ReadFile(timesFile)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n## How long programs take to compile\n\n%s\n%s", timesPreface, times)
	}
	for _, t := range tables {
		fmt.Fprintf(w, "\n## %s\n\n%s, %s. Variants of class %s.\n\n", t.Chip, t.Device, t.Driver, t.Class)
		t.printMarkdown(w, before[t.Chip])
		t.writeGone(w, before[t.Chip])
	}
	return nil
}

// writeSummary counts each table's pipelines that are not in registers.
func writeSummary(w io.Writer, tables []table, before map[string]table) {
	fmt.Fprint(w, "\n| chip | driver | pipelines | with spills, scratch or local memory | code, KB | largest, KB |\n|---|---|--:|--:|--:|--:|\n")
	for _, t := range tables {
		cells := t.summary()
		if b, ok := before[t.Chip]; ok {
			for i, old := range b.summary() {
				if old != cells[i] {
					cells[i] = old + " → " + cells[i]
				}
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", t.Chip, t.Driver, strings.Join(cells, " | "))
	}
	for _, t := range tables {
		for _, e := range exceptions {
			if e.on(t) {
				fmt.Fprintf(w, "\n`%v` on %s%s: %s.\n", e.pipelines, t.Chip, withLanes(e.subgroup), e.reason)
			}
		}
	}
}

func (t table) summary() []string {
	inMemory, code, largest := 0, 0.0, 0.0
	for _, r := range t.Rows {
		if r.inMemory() != "" {
			inMemory++
		}
		code += r.Columns["code_bytes"]
		largest = max(largest, r.Columns["code_bytes"])
	}
	return []string{fmt.Sprint(len(t.Rows)), fmt.Sprint(inMemory), fmt.Sprintf("%.0f", code/1000), fmt.Sprintf("%.1f", largest/1000)}
}

// writeGone lists the pipelines of the table before that are no longer chosen.
func (t table) writeGone(w io.Writer, before table) {
	var kept []*row
	for _, r := range before.matching(t) {
		if r != nil {
			kept = append(kept, r)
		}
	}
	gone := before
	gone.Rows = nil
	for i := range before.Rows {
		if !slices.Contains(kept, &before.Rows[i]) {
			gone.Rows = append(gone.Rows, before.Rows[i])
		}
	}
	if len(gone.Rows) > 0 {
		fmt.Fprint(w, "\nNo longer chosen, or with other constants:\n\n")
		gone.printMarkdown(w, table{})
	}
}

// The page's texts; ~ stands for a backquote.
var (
	preface = strings.ReplaceAll(`<!-- Written by tools/kernelstats: make kernelstats. Do not edit. -->

# What GPUs' compilers make of the kernels

No GPU is needed for these figures: open compilers compile every kernel for the real chip without it, RADV for AMD's and NVK for NVIDIA's, and report registers, memory and instructions. They show what a processor is given to execute, not how fast it is. ~make kernelstats~ writes this page. ~go run ./tools/kernelstats~ prints the same for a Vulkan device whose driver has VK_KHR_pipeline_executable_properties, and ~--disassemble KERNEL~ the compiler's listing.

A pipeline is a variant with its entry point and specialisation constants, as the engine makes it for a training step, a prefill or a decoded token of the presets in f32, bf16 or f16, where the class of the device chooses it, and for the same matmuls and embeddings with weights in every block format. Pipelines that require a subgroup size (cooperative matrices) are listed with every size that the chip has. "before → after" compares with the tables in ~tools/kernelstats/testdata/before~.

`, "~", "`")
	timesPreface = `All pipelines of a program, each distinct one once, on all cores of the machine that wrote this page (2): without a cache, and with the pipeline cache of the first time. Other work on the machine makes them longer, but hardly the processor time, that of all its cores.
`
)
