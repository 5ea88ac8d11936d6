// Command vlmtool trains and asks encoder-free vision-language models.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is a mistake in the command line: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what every command shares.
type app struct {
	name           string   // of the command
	args           []string // that stand behind its name
	flags          *pflag.FlagSet
	stdin          io.Reader
	stdout, stderr io.Writer
	json, quiet    bool
	threads        int
	logLevel       string
	device         string
	groups         []flagGroup
}

func main() {
	ctx, stop := untilSignal()
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the program at once
		endSoon(strings.Join(os.Args[1:min(2, len(os.Args))], ""), os.Stderr)
	})
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(code)
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(ctx context.Context, args []string, to, stderr io.Writer) int {
	ctx, stdout := newOutput(ctx, to)
	defer stdout.stop()
	code := dispatch(ctx, args, stdout, stderr)
	if err := stdout.failed(); err != nil && code != exitUsage {
		fmt.Fprintf(stderr, "vlmtool%s: %s%s\n", strings.Join(append([]string{""}, args[:min(1, len(args))]...), " "), oneLine(err), (&app{}).advice(err))
		return exitFailed
	}
	return code
}

// dispatch runs the command that the arguments name.
func dispatch(ctx context.Context, args []string, stdout *output, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintf(stderr, "vlmtool what? %s\nvlmtool --help says what they do\n", oneOf(lastWords(commands)))
		return exitUsage
	}
	switch args[0] {
	case "-h", "--help":
		printCommands(stdout)
		return 0
	case "--version":
		fmt.Fprintln(stdout, "vlmtool", version())
		return 0
	}
	for _, c := range commands {
		if c.name == args[0] {
			return runCommand(ctx, c, args[1:], stdout, stderr)
		}
	}
	if strings.HasPrefix(args[0], "-") {
		fmt.Fprintf(stderr, "vlmtool: there is no command before %q; write vlmtool COMMAND %s\n", args[0], printable(args[0]))
	} else {
		fmt.Fprintf(stderr, "vlmtool: there is no command %q%s\n", args[0], didYouMean(args[0], lastWords(commands), "vlmtool "))
	}
	fmt.Fprintln(stderr, "vlmtool --help lists the commands")
	return exitUsage
}

func runCommand(ctx context.Context, c command, args []string, stdout *output, stderr io.Writer) int {
	var err error
	given := args
	if c.declare == nil {
		c, args, err = c.choose(args)
	}
	a := newApp(c.name, given)
	a.stdout, a.stderr = stdout, stderr
	if err == nil {
		act := c.flags(a)
		if err = a.parse(args, c.args); err == nil {
			err = act(ctx)
		}
	}
	switch {
	case err == nil || stdout.failed() != nil: // which run tells
		return 0
	case errors.Is(err, pflag.ErrHelp):
		printHelp(stdout, c)
		return 0
	case errors.Is(err, errVersion):
		fmt.Fprintln(stdout, "vlmtool", version())
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "vlmtool %s: interrupted\n", c.name)
		return exitInterrupted
	}
	err = a.missingModel(err)
	fmt.Fprintf(stderr, "vlmtool %s: %s%s\n", c.name, oneLine(err), a.advice(err))
	if errors.As(err, &usageError{}) {
		fmt.Fprintf(stderr, "vlmtool %s --help lists the flags\n", c.name)
		return exitUsage
	}
	return exitFailed
}

var errVersion = errors.New("version asked for")

func newApp(name string, args []string) *app {
	a := &app{name: name, args: args, stdin: os.Stdin, stdout: io.Discard, stderr: io.Discard, flags: pflag.NewFlagSet("vlmtool "+name, pflag.ContinueOnError)}
	a.flags.SetOutput(io.Discard)
	a.flags.Usage = func() {}
	a.flags.SortFlags = false
	return a
}

// commonFlags adds every command's.
func (a *app) commonFlags() {
	a.group("Every command's flags")
	a.flags.BoolVar(&a.json, "json", false, "write one JSON object a line to standard output, the result last")
	a.flags.BoolVarP(&a.quiet, "quiet", "q", false, "write nothing but results and errors")
	a.choice(&a.logLevel, "log-level", "info", "LEVEL: least severe messages to write", "debug", "info", "warn", "error")
	a.flags.IntVar(&a.threads, "threads", 0, "CPU threads; 0 = all cores")
	a.flags.Bool("version", false, "print the version")
	a.flags.BoolP("help", "h", false, "print this")
}

// asked is pflag.ErrHelp or errVersion where a flag asks for it instead of the command.
func (a *app) asked() error {
	if help, _ := a.flags.GetBool("help"); help {
		return pflag.ErrHelp
	}
	if v, _ := a.flags.GetBool("version"); v {
		return errVersion
	}
	return nil
}

// parse reads the flags and sets the logger up. Positional arguments are those
// that the command takes, no more.
func (a *app) parse(args []string, takes positional) error {
	err := a.read(args)
	if asked := a.asked(); asked != nil || err != nil {
		return cmp.Or(asked, err)
	}
	if a.flags.NArg() > takes.most {
		return usagef("unexpected argument %q; a value with a space or * in it needs quotes", a.flags.Arg(takes.most))
	}
	if a.threads < 0 {
		return usagef("--threads cannot be %d; 0 takes all cores", a.threads)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return err
	}
	if a.quiet {
		level = max(level, slog.LevelError)
	}
	slog.SetDefault(slog.New(newLineHandler(a.stderr, level)))
	a.flags.Visit(func(f *pflag.Flag) {
		if f.Hidden {
			slog.Warn(fmt.Sprintf("%s has no use for --%s", a.name, f.Name))
		}
	})
	return nil
}

// result writes a JSON object on one line.
func (a *app) result(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(escapeC1(line), '\n'))
	return err
}

// escapeC1 writes out the control characters that JSON lets stand: DEL and U+0080 to
// U+009F, among them one that begins an escape sequence.
func escapeC1(line []byte) []byte {
	if !bytes.ContainsFunc(line, unicode.IsControl) {
		return line
	}
	var out []byte
	for _, r := range string(line) {
		if unicode.IsControl(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// oneLine is the error as one line that any terminal can show.
func oneLine(err error) string {
	return printable(strings.Join(strings.FieldsFunc(plainly(err), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}
