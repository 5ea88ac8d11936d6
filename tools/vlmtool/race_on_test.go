//go:build race

package main

// instrumented is how many times the memory, and the time, the race detector may take
// ("typically 5-10x" by Go's documentation).
const instrumented = 10
