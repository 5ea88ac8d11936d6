//go:build !linux

package cpu

func largePages([]byte) {}
