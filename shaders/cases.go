package shaders

import "fmt"

// elementGrain is the least number of elements worth a goroutine.
const elementGrain = 4096

// overSizes makes an elementwise kernel's cases: one element, odd counts, a
// whole workgroup and one more, and past 65535 workgroups of 64.
func overSizes(c func(n int) Case) []Case {
	var cases []Case
	for _, n := range []int{1, 3, 64, 65, 1025, 65535*64 + 1} {
		one := c(n)
		one.Name = fmt.Sprintf("n=%d", n)
		cases = append(cases, one)
	}
	return cases
}
