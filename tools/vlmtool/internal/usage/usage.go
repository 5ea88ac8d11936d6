// Package usage has the errors of a wrong command line, and suggestions for mistyped
// words.
package usage

import "fmt"

// Error is a mistake in the command line: exit code 2.
type Error struct{ Err error }

func (e Error) Error() string { return e.Err.Error() }
func (e Error) Unwrap() error { return e.Err }

// Errorf formats a mistake in the command line.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }
