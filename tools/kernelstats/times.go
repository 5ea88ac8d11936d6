package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/engine/vulkan"
)

// printTimes measures how long the programs of the selected presets take to compile on
// the device, with the variants of its own class: training, and generation, which is the
// encoding of an image, a prefill and a decoded token.
func printTimes(w io.Writer, c *vulkan.Compiler, s selection, chip string, markdown bool) error {
	row := "%-12s %-34s %9d %8.2f s %8.2f s %8.2f s\n"
	if markdown {
		row = "| %s | %s | %d | %.2f s | %.2f s | %.2f s |\n"
	} else {
		fmt.Fprintf(w, "%-12s %-34s %9s %10s %10s %10s\n", "chip", "program", "pipelines", "cold", "processor", "cached")
	}
	for _, p := range programs(s) {
		recordings, err := p.selection.record(c.Info())
		if err != nil {
			return err
		}
		var dispatches []engine.Dispatch
		for _, r := range recordings {
			dispatches = append(dispatches, r.Dispatches...)
		}
		before := processorTime()
		cold, err := c.Time(dispatches, nil)
		processor := processorTime() - before
		if err != nil {
			return err
		}
		cached, err := c.Time(dispatches, cold.Cache)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, row, chip, p.name, cold.Pipelines, seconds(cold), processor.Seconds(), seconds(cached))
	}
	return nil
}

func seconds(t vulkan.CompileTime) float64 { return t.Time.Round(time.Millisecond).Seconds() }

// program is work that is compiled together.
type program struct {
	name      string
	selection selection
}

// programs are the training steps and the generation of the selection.
func programs(s selection) (all []program) {
	kinds := []struct {
		name  string
		works []string
	}{{"training step", []string{"train"}}, {"generation", []string{"prefill", "decode"}}}
	for _, preset := range s.presets {
		for _, dtype := range s.dtypes {
			for _, k := range kinds {
				if slices.Contains(s.works, k.works[0]) {
					one := s
					one.presets, one.dtypes, one.works = []string{preset}, []string{dtype}, k.works
					all = append(all, program{preset + " " + k.name + " " + dtype, one})
				}
			}
		}
	}
	return all
}
