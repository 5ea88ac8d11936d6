//go:build !linux && !darwin && !freebsd

package mpi

import (
	"context"
	"errors"
	"runtime"
)

func openMPI(context.Context) (transport, error) {
	return nil, errors.New("this process was started as a part of an MPI job, which vlmtool cannot join on " + runtime.GOOS + ": use Linux")
}
