//go:build race

package main

// instrumented is the factor of memory and time of the race detector
// ("typically 5-10x" by Go's documentation).
const instrumented = 10
