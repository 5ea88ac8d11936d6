package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// exception is a set of pipelines that may keep values in memory instead of registers, on
// chips with a driver, with the reason. One that no longer occurs is reported.
type exception struct {
	chips     []string
	driver    string         // the driver's description contains it
	pipelines *regexp.Regexp // their names, as row.name returns them
	subgroup  int            // that they require; 0 = any
	reason    string
}

// exceptions to the rule that everything a GPU chooses compiles to registers: none now.
var exceptions []exception

// check compares a table of chosen pipelines with the exceptions and returns a line for
// each that keeps values in memory without being declared; with complete, which says that
// the table has all of them, also for each exception that does not occur.
func (t table) check(declared []exception, complete bool) []string {
	var problems []string
	used := map[int]bool{}
	for _, r := range t.Rows {
		found := r.inMemory()
		if found == "" || !r.Chosen {
			continue
		}
		known := false
		for i, e := range declared {
			if e.on(t) && e.pipelines.MatchString(r.name()) && (e.subgroup == 0 || e.subgroup == r.Required) {
				used[i], known = true, true
			}
		}
		if !known {
			problems = append(problems, fmt.Sprintf("%s on %s%s: %s: an array is indexed by a variable, or there are too many values at once; unroll its loop, or declare it in tools/kernelstats/exceptions.go with the reason", r.name(), t.Chip, withLanes(r.Required), found))
		}
	}
	for i, e := range declared {
		if complete && e.on(t) && !used[i] {
			problems = append(problems, fmt.Sprintf("%v on %s: the exception in tools/kernelstats/exceptions.go no longer occurs: remove it", e.pipelines, t.Chip))
		}
	}
	return problems
}

func (e exception) on(t table) bool {
	return slices.Contains(e.chips, t.Chip) && strings.Contains(t.Driver, e.driver)
}

// withLanes names a required subgroup size.
func withLanes(subgroup int) string {
	if subgroup == 0 {
		return ""
	}
	return fmt.Sprintf(" with %d lanes", subgroup)
}
