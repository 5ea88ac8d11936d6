//go:build !unix

package cpu

import "errors"

const canMap = false

func mapMemory(int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapMemory([]byte) {}
