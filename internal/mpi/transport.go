package mpi

import "context"

// transport carries messages between ranks.
type transport interface {
	rank() int
	size() int
	library() string // its name, for errors

	// start starts operations. Each one's end is called when it has ended. Messages of a tag between
	// two ranks arrive in the order in which they were started.
	start(ops []*op)

	// sendControl sends a short message without waiting.
	sendControl(to int, message []byte)

	// onControl sets the function that receives them.
	onControl(f func(from int, message []byte))

	// drain gives up what is left of the channels' operations; what other ranks still send there is
	// received and dropped. It returns when this rank has nothing left to send, or ctx ends.
	drain(ctx context.Context) error

	// leave ends the communication of a job whose ranks all call it, exit ends the process as well. It
	// may return.
	leave()
	exit(code int)

	// abort ends all processes of the job with an exit code. It may return.
	abort(code int)
}

// op is the sending or receiving of a message.
type op struct {
	send bool
	peer int
	tag  int
	buf  []byte // to send, or to fill
	want int    // bytes to receive; -1 = any number up to len(buf)
	end  func(*op)

	// Set when it ends.
	n   int // bytes received
	err error
}

// Tags of messages. MPI guarantees tags up to 32767.
const (
	controlTag = 1
	greetTag   = 2
	closeTag   = 3
	firstTag   = 16 // of channel 0
)

// MaxChannels is the number of channels of a World.
const MaxChannels = 8
