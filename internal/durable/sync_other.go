//go:build !unix

package durable

// SyncDir does nothing where folders cannot be synced.
func SyncDir(string) error { return nil }
