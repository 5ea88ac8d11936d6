package infer

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
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/errtext"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/vlm/audio"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
	"patchwork/vlm/packing"
	"patchwork/vlm/tokenizer"
)

// conversation is a chat: its messages and its input.
type conversation struct {
	*session
	messages []chat.Message
	pending  int              // images that belong to the next question
	heard    int              // clips of earlier questions; the others belong to the next one
	warned   bool             // that there is no image or sound
	editor   *terminal.Editor // of the terminal; nil: lines are read as they come
	lines    <-chan string
	read     *error // why the input ended; set before lines is closed
	stops    <-chan os.Signal
}

const chatHelp = `Type a question and press Enter.
  /image FILE   add an image to the next question; can be repeated
  /audio FILE   add sound to the next question; can be repeated
  /clear        start a new conversation without images and sound
  /help         show this help
  /quit         exit, as Ctrl-D does
Up and Down recall earlier lines. Ctrl-C stops an answer; at the prompt it exits.
Start a question with // if it begins with /.`

// converse answers questions line by line until the input ends. An interrupt stops an
// answer; at the prompt it ends the conversation.
func (s *session) converse(ctx context.Context) error {
	cli.EndGracefully()
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stops)
	t := &conversation{session: s, pending: len(s.images), stops: stops, read: new(error)}
	if t.interactive() {
		t.editor = terminal.NewEditor(s.a.Stdin, s.a.Stderr, "> ")
		defer t.editor.Close()
	}
	if t.editor == nil {
		t.lines = readLines(s.a.Stdin, t.read)
	}
	// From here on the conversation handles interrupts, not the program's context.
	return t.run(context.WithoutCancel(ctx))
}

// maxLine is the longest question in bytes; no model's context holds as much.
const maxLine = 16 << 20

// readLines sends the lines of a reader; err is set before the channel closes. A reader
// that blocks is left until the program ends.
func readLines(r io.Reader, err *error) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(r)
		in.Buffer(nil, maxLine)
		for in.Scan() {
			lines <- in.Text()
		}
		if *err = in.Err(); errors.Is(*err, bufio.ErrTooLong) {
			*err = fmt.Errorf("standard input: a line has more than %d MiB; a question has one line", maxLine>>20)
		}
	}()
	return lines
}

func (t *conversation) run(ctx context.Context) error {
	if t.f.prompt != "" {
		if err := t.question(ctx, t.f.prompt); err != nil {
			return err
		}
	} else if t.interactive() {
		fmt.Fprintln(t.a.Stderr, "Type /help for commands.")
		if t.singleTurn() {
			fmt.Fprintln(t.a.Stderr, "The model was trained on single questions: it sees the images, hears the sound and reads the last question, not the earlier ones.")
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
			fmt.Fprintln(t.a.Stderr, chatHelp)
		case command == "/clear":
			t.messages, t.images, t.grids, t.pending, t.clips, t.heard = nil, nil, nil, 0, nil, 0
		case command == "/image":
			t.addImage(argument)
		case command == "/audio":
			t.addSound(argument)
		case strings.HasPrefix(line, "/") && !strings.HasPrefix(line, "//"):
			t.print("unknown command %s; /help lists the commands", command)
		default:
			if err := t.question(ctx, strings.TrimPrefix(line, "/")); err != nil {
				return err
			}
		}
	}
}

func (t *conversation) interactive() bool { return terminal.IsTerminal(t.a.Stdin) && !t.a.Quiet }

// print writes a message to the user in one line.
func (t *conversation) print(format string, args ...any) {
	fmt.Fprintln(t.a.Stderr, errtext.Line(fmt.Errorf(format, args...)))
}

// next waits for a line. It returns io.EOF at the end of the input, context.Canceled on
// an interrupt.
func (t *conversation) next() (string, error) {
	if t.editor != nil {
		return t.edited()
	}
	if t.interactive() {
		fmt.Fprint(t.a.Stderr, "> ")
	}
	select {
	case line, ok := <-t.lines:
		if !ok {
			if t.interactive() {
				fmt.Fprintln(t.a.Stderr)
			}
			return "", cmp.Or(*t.read, io.EOF)
		}
		return strings.TrimSpace(line), nil
	case <-t.stops:
		return "", context.Canceled
	}
}

// edited is next with an editor. If it is interrupted by a signal, the editor is left until the program
// ends.
func (t *conversation) edited() (string, error) {
	var line string
	done := make(chan error, 1)
	go func() {
		var err error
		line, err = t.editor.Line()
		done <- err
	}()
	select {
	case err := <-done:
		if errors.Is(err, terminal.ErrInterrupted) {
			err = context.Canceled
		}
		if err != nil {
			fmt.Fprintln(t.a.Stderr)
		}
		return strings.TrimSpace(line), err
	case <-t.stops:
		fmt.Fprintln(t.a.Stderr)
		return "", context.Canceled
	}
}

// addImage adds an image to the next question.
func (t *conversation) addImage(file string) {
	start := time.Now()
	switch {
	case file == "":
		t.print("/image needs a file name: /image FILE")
		return
	case t.generator.Config.TextOnly():
		t.print("%s is a text-only decoder", t.f.model)
		return
	case t.generator.Config.Vision.None():
		t.print("%s takes no images, only sound", t.f.model)
		return
	}
	data, err := smallfile.Read(file, smallfile.Image)
	if err != nil {
		t.print("%w", err)
		return
	}
	pixels, grid, err := preprocess(t.generator.Config, file, data)
	if err != nil {
		t.print("%w", err)
		return
	}
	if t.singleTurn() && t.pending == 0 { // of the earlier questions
		t.images, t.grids = nil, nil
	}
	t.images, t.grids, t.pending = append(t.images, pixels), append(t.grids, grid), t.pending+1
	t.timings.ImageMS += ms(time.Since(start))
	if t.interactive() {
		fmt.Fprintf(t.a.Stderr, "%s is added to the next question.\n", terminal.Printable(file))
	}
}

// addSound adds a clip to the next question.
func (t *conversation) addSound(file string) {
	a := t.generator.Config.Audio
	switch {
	case file == "":
		t.print("/audio needs a file name: /audio FILE")
		return
	case a.None():
		t.print("%s takes no sound", t.f.model)
		return
	}
	data, err := smallfile.Read(file, smallfile.Sound)
	if err != nil {
		t.print("%w", err)
		return
	}
	samples, _, err := audio.Decode(data, a.SampleRate)
	if err != nil {
		t.print("%s: %w", file, err)
		return
	}
	if t.singleTurn() && t.heard == len(t.clips) { // of the earlier questions
		t.clips, t.heard = nil, 0
	}
	t.clips = append(t.clips, samples)
	if t.interactive() {
		fmt.Fprintf(t.a.Stderr, "%s is added to the next question.\n", terminal.Printable(file))
	}
}

// question asks the model and keeps its answer. A question that cannot be answered
// leaves the conversation unchanged.
func (t *conversation) question(ctx context.Context, text string) error {
	if !t.warned {
		t.warnNoFile()
		t.warned = true
	}
	if t.singleTurn() {
		t.messages, t.pending, t.heard = nil, len(t.images), 0
	}
	messages := append(t.messages[:len(t.messages):len(t.messages)], chat.Message{Role: "user", Content: text, Images: t.pending, Grids: t.grids[len(t.grids)-t.pending:], Clips: t.tokens(t.heard)})
	prompt, err := t.encodeInterruptible(messages)
	var endless *tokenizer.PatternError
	switch {
	case errors.Is(err, errTerminated):
		return err
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &endless):
		t.print("%w", err)
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
		t.print("The conversation with this question has %d tokens, the model's context is %d: /clear starts a new one.", full.Prompt, full.Context)
		return nil
	case err != nil && !stopped:
		return err
	case stopped && r.Text == "":
		return nil
	case stopped:
		r.FinishReason = "stopped"
	}
	t.messages, t.pending = append(messages, chat.Message{Role: "assistant", Content: r.Text}), 0
	t.heard = len(t.clips)
	t.timings = timings{LoadMS: t.timings.LoadMS}
	if t.a.JSON {
		return t.a.Result(r)
	}
	if r.FinishReason == "length" && !t.a.Quiet {
		t.printCutOff(r)
	}
	return nil
}

// singleTurn reports whether the model was trained to answer each question without the
// earlier ones.
func (t *conversation) singleTurn() bool { return t.generator.Config.Turns == packing.SharedPrefix }

func (t *conversation) printCutOff(r Result) {
	if limit := t.generator.Config.Text.MaxPositionEmbeddings; r.PromptTokens+r.CompletionTokens >= limit {
		t.print("The answer was cut off: the model's context of %d tokens is full. /clear starts a new conversation.", limit)
		return
	}
	t.print("The answer was cut off after %d tokens (--max-new-tokens).", r.CompletionTokens)
}

// encodeInterruptible encodes until an interrupt comes; a tokenizer's pattern, which only
// its time limit stops, then continues in the background.
func (t *conversation) encodeInterruptible(messages []chat.Message) (prompt chat.Tokens, err error) {
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

// interruptible answers until an interrupt comes. SIGTERM ends the conversation too.
func (t *conversation) interruptible(ctx context.Context, prompt chat.Tokens) (Result, error) {
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

// errTerminated is the error after SIGTERM.
var errTerminated = fmt.Errorf("terminated: %w", context.Canceled)
