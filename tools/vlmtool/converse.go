package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"patchwork/internal/smallfile"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/tokenizer"
)

// talk is a conversation: what was said, and what comes in.
type talk struct {
	*session
	messages []chat.Message
	pending  int  // of the pictures: those that go with the next question
	blind    bool // that no picture is shown has been said
	lines    <-chan string
	read     *error // why there are no more lines; set once lines is closed
	stops    <-chan os.Signal
}

const chatHelp = `Type a question and press Enter.
  /image FILE   show a picture with the next question; may be given several times
  /clear        begin anew, without pictures
  /help         these lines
  /quit         leave, as Ctrl-D does
Ctrl-C stops an answer, or leaves. A question that begins with / is written with //.`

// converse answers questions line by line until the input ends. An interrupt
// stops an answer; while a question is awaited it ends the conversation.
func (s *session) converse(ctx context.Context) error {
	orderly.Store(true)
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stops)
	t := &talk{session: s, pending: len(s.pictures), stops: stops, read: new(error)}
	t.lines = readLines(s.a.stdin, t.read)
	// What the program's own context does on an interrupt is the conversation's
	// business from here on.
	return t.run(context.WithoutCancel(ctx))
}

// longestLine bounds a question, in bytes: no model's context holds as much.
const longestLine = 16 << 20

// readLines sends the lines of a reader; err is set before the channel closes.
// The reader may never return, and then ends with the program.
func readLines(r io.Reader, err *error) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(r)
		in.Buffer(nil, longestLine)
		for in.Scan() {
			lines <- in.Text()
		}
		if *err = in.Err(); errors.Is(*err, bufio.ErrTooLong) {
			*err = fmt.Errorf("standard input: a line has more than %d MiB; a question has one line", longestLine>>20)
		}
	}()
	return lines
}

func (t *talk) run(ctx context.Context) error {
	if t.f.prompt != "" {
		if err := t.question(ctx, t.f.prompt); err != nil {
			return err
		}
	} else if t.interactive() {
		fmt.Fprintln(t.a.stderr, "/help lists what can be typed besides questions.")
		if t.alone() {
			fmt.Fprintln(t.a.stderr, "The model was trained on questions that stand alone: it sees the picture and the last question, not those before.")
		}
	}
	for {
		line, err := t.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		command, argument, _ := strings.Cut(line, " ")
		argument = strings.TrimSpace(argument)
		switch {
		case line == "":
		case command == "/quit" || command == "/exit":
			return nil
		case command == "/help":
			fmt.Fprintln(t.a.stderr, chatHelp)
		case command == "/clear":
			t.messages, t.pictures, t.pending = nil, nil, 0
		case command == "/image":
			t.show(argument)
		case strings.HasPrefix(line, "/") && !strings.HasPrefix(line, "//"):
			t.say("there is no command %s; /help lists them", command)
		default:
			if err := t.question(ctx, strings.TrimPrefix(line, "/")); err != nil {
				return err
			}
		}
	}
}

func (t *talk) interactive() bool { return isTerminal(t.a.stdin) && !t.a.quiet }

// say tells the user something in one line.
func (t *talk) say(format string, args ...any) {
	fmt.Fprintln(t.a.stderr, oneLine(fmt.Errorf(format, args...)))
}

// next waits for a line. At the input's end it returns io.EOF, on an interrupt
// context.Canceled.
func (t *talk) next() (string, error) {
	if t.interactive() {
		fmt.Fprint(t.a.stderr, "> ")
	}
	select {
	case line, ok := <-t.lines:
		if !ok {
			if t.interactive() {
				fmt.Fprintln(t.a.stderr)
			}
			return "", cmp.Or(*t.read, io.EOF)
		}
		return strings.TrimSpace(line), nil
	case <-t.stops:
		return "", context.Canceled
	}
}

// show adds a picture to the next question.
func (t *talk) show(file string) {
	start := time.Now()
	switch {
	case file == "":
		t.say("/image what? A picture's file comes behind it")
		return
	case t.generator.Config.Vision.None():
		t.say("%s reads text alone", t.f.model)
		return
	}
	data, err := smallfile.Read(file, smallfile.Picture)
	if err != nil {
		t.say("%w", err)
		return
	}
	pixels, err := preprocess(t.generator.Config, file, data)
	if err != nil {
		t.say("%w", err)
		return
	}
	if t.alone() && t.pending == 0 { // what earlier questions were about
		t.pictures = nil
	}
	t.pictures, t.pending = append(t.pictures, pixels), t.pending+1
	t.timings.ImageMS += ms(time.Since(start))
	if t.interactive() {
		fmt.Fprintf(t.a.stderr, "%s goes with the next question.\n", printable(file))
	}
}

// question asks the model and remembers its answer. Where the question cannot be
// answered the conversation stays as it was.
func (t *talk) question(ctx context.Context, text string) error {
	if !t.blind {
		t.warnBlind()
		t.blind = true
	}
	if t.alone() {
		t.messages, t.pending = nil, len(t.pictures)
	}
	messages := append(t.messages[:len(t.messages):len(t.messages)], chat.Message{Role: "user", Content: text, Images: t.pending})
	prompt, err := t.encodeInterruptible(messages)
	var endless *tokenizer.PatternError
	switch {
	case errors.Is(err, errTerminated):
		return err
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &endless):
		t.say("%w", err)
		return nil
	case err != nil:
		return err
	}
	r, err := t.interruptible(ctx, prompt)
	var full *generate.ContextError
	switch stopped := errors.Is(err, context.Canceled); {
	case errors.Is(err, errTerminated):
		return err
	case errors.As(err, &full):
		t.say("The conversation with this question has %d tokens and the model has room for %d: /clear begins a new one.", full.Prompt, full.Context)
		return nil
	case err != nil && !stopped:
		return err
	case stopped && r.Text == "":
		return nil
	case stopped:
		r.FinishReason = "stopped"
	}
	t.messages, t.pending = append(messages, chat.Message{Role: "assistant", Content: r.Text}), 0
	t.timings = inferTimings{LoadMS: t.timings.LoadMS}
	if t.a.json {
		return t.a.result(r)
	}
	if r.FinishReason == "length" && !t.a.quiet {
		t.cutOff(r)
	}
	return nil
}

// alone says that each question goes to the model without those before it, as in its
// training.
func (t *talk) alone() bool { return t.generator.Config.Turns == packing.InBranches }

func (t *talk) cutOff(r inferResult) {
	if limit := t.generator.Config.Text.MaxPositionEmbeddings; r.PromptTokens+r.CompletionTokens >= limit {
		t.say("The answer was cut off: the model's context of %d tokens is full. /clear begins a new conversation.", limit)
		return
	}
	t.say("The answer was cut off after %d tokens (--max-new-tokens).", r.CompletionTokens)
}

// encodeInterruptible encodes until an interrupt comes. A tokenizer's pattern, which
// nothing but its time limit stops, is left behind then.
func (t *talk) encodeInterruptible(messages []chat.Message) (prompt chat.Tokens, err error) {
	done := make(chan struct{})
	var encoded chat.Tokens
	var failed error
	go func() {
		defer close(done)
		encoded, failed = t.encode(messages)
	}()
	select {
	case <-done:
		return encoded, failed
	case s := <-t.stops:
		if s == syscall.SIGTERM {
			return prompt, errTerminated
		}
		return prompt, context.Canceled
	}
}

// interruptible answers until an interrupt comes. What ends the program ends the
// conversation.
func (t *talk) interruptible(ctx context.Context, prompt chat.Tokens) (inferResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done, signalled := make(chan struct{}), make(chan os.Signal, 1)
	go func() {
		select {
		case s := <-t.stops:
			signalled <- s
			cancel()
		case <-done:
		}
		close(signalled)
	}()
	r, err := t.answer(ctx, prompt)
	close(done)
	if <-signalled == syscall.SIGTERM {
		return r, errTerminated
	}
	return r, err
}

// errTerminated is the system's wish to end.
var errTerminated = fmt.Errorf("terminated: %w", context.Canceled)
