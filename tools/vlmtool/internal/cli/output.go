package cli

import (
	"context"
	"io"
	"os"
	"sync"
)

// output is standard output. After its first write error it writes nothing more and
// cancels the command's context, so that the command stops.
type output struct {
	to   io.Writer
	stop context.CancelFunc

	mu  sync.Mutex
	err error
}

// newOutput returns the context that the output's first error cancels.
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

// File is the file behind the output, nil where there is none.
func (o *output) File() *os.File {
	f, _ := o.to.(*os.File)
	return f
}
