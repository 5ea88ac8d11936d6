// Package require ends a test when a step that it depends on fails.
package require

import "testing"

// NoError ends the test on an error.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Value returns a function that ends the test on err and otherwise returns v:
// require.Value(os.ReadFile(path))(t).
func Value[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		NoError(t, err)
		return v
	}
}
