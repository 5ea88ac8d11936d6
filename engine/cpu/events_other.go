//go:build !js

package cpu

// letOthersRun is for systems with one thread.
func letOthersRun() {}
