package main

import (
	"context"
	"io"
	"os"
	"sync"
)

// output is standard output, which keeps its first error: what comes behind is not
// written, and the command's context ends, so that it stops working for nobody.
type output struct {
	to   io.Writer
	stop context.CancelFunc

	mu  sync.Mutex
	err error
}

// newOutput returns the context that ends with the output's first error.
func newOutput(ctx context.Context, to io.Writer) (context.Context, *output) {
	ctx, stop := context.WithCancel(ctx)
	return ctx, &output{to: to, stop: stop}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	if err != nil {
		o.err = err
		o.stop()
	}
	return n, err
}

// failed is the first error, nil where there is none.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// fileOf is the file behind a stream, nil where there is none.
func fileOf(stream any) *os.File {
	if o, ok := stream.(*output); ok {
		stream = o.to
	}
	f, _ := stream.(*os.File)
	return f
}
