// Command vlmtool trains and asks encoder-free vision-language models.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
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

// command is one of vlmtool's.
type command struct {
	name, usage, about string
	run                func(ctx context.Context, a *app, args []string) error
}

// commands is filled by init, as help lists them.
var commands []command

func init() {
	commands = []command{
		{"train", "--data PATH[,PATH…] --out DIR [flags]", "train a model on FineVision-schema parquet", runTrain},
		{"infer", "--model DIR|FILE.gguf [--image FILE]… --prompt TEXT [flags]", "ask a model about pictures", runInfer},
		{"eval", "--model DIR --data PATH [flags]", "score a model on questions with known answers", runEval},
		{"export", "--model DIR|FILE.gguf --out DIR [--decoder-only] [--dtype D]", "write a model in other floats, or its decoder for transformers", runExport},
		{"bench", "kernels|train|infer|embedder [flags]", "measure kernels, training steps and generation", runBench},
		{"tune", "[--device D] [--preset NAME] [--reset]", "measure which variants of the kernels a device runs fastest, and keep it", runTune},
		{"devices", "[--json]", "list the devices there are, and why there is no GPU", runDevices},
		{"fetch", "REPO[@REV] --out DIR [flags]", "bring a model or a data set from the Hugging Face hub", runFetch},
		{"data", "import FOLDER|FILE… --out DIR [flags]", "make a data set of your own pictures and captions", runData},
		{"inspect", "PATH [--rows] [--figures DIR [--image FILE]] [--json]", "say what a data set, model, checkpoint or GGUF file holds", runInspect},
	}
}

// usageError is a mistake in the command line: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what every command shares.
type app struct {
	name           string // of the command
	args           []string
	flags          *pflag.FlagSet
	stdin          io.Reader
	stdout, stderr io.Writer
	json, quiet    bool
	threads        int
	logLevel       string
	device         string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printUsage(stderr)
		return exitUsage
	}
	switch args[0] {
	case "-h", "--help", "help":
		printUsage(stdout)
		return 0
	case "--version", "version":
		fmt.Fprintln(stdout, "vlmtool", version())
		return 0
	}
	for _, c := range commands {
		if c.name == args[0] {
			return runCommand(ctx, c, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "vlmtool: there is no command %q; vlmtool --help lists them\n", args[0])
	return exitUsage
}

func runCommand(ctx context.Context, c command, args []string, stdout, stderr io.Writer) int {
	a := &app{name: c.name, args: args, stdin: os.Stdin, stdout: stdout, stderr: stderr, flags: pflag.NewFlagSet("vlmtool "+c.name, pflag.ContinueOnError)}
	a.flags.SetOutput(io.Discard)
	a.flags.Usage = func() {}
	a.flags.SortFlags = false
	a.flags.BoolVar(&a.json, "json", false, "write one JSON object a line to stdout")
	a.flags.BoolVarP(&a.quiet, "quiet", "q", false, "write nothing but results and errors")
	a.flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	a.flags.IntVar(&a.threads, "threads", 0, "CPU threads; 0 = all cores")
	a.flags.Bool("version", false, "print the version")
	err := c.run(ctx, a, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprintf(stdout, "vlmtool %s %s\n  %s\n\n%s", c.name, c.usage, c.about, a.flags.FlagUsages())
		return 0
	case errors.Is(err, errVersion):
		fmt.Fprintln(stdout, "vlmtool", version())
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "vlmtool %s: interrupted\n", c.name)
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "vlmtool %s: %s%s\n", c.name, oneLine(err), a.advice(err))
	if errors.As(err, &usageError{}) {
		fmt.Fprintf(stderr, "vlmtool %s --help lists the flags\n", c.name)
		return exitUsage
	}
	return exitFailed
}

var errVersion = errors.New("version asked for")

// parse reads the flags and sets the logger up. Positional arguments are those
// that the command takes, no more.
func (a *app) parse(args []string, positional int) error {
	if err := a.flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if v, _ := a.flags.GetBool("version"); v {
		return errVersion
	}
	if a.flags.NArg() > positional {
		return usagef("unexpected argument %q", a.flags.Arg(positional))
	}
	if a.threads < 0 {
		return usagef("--threads cannot be %d", a.threads)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usagef("--log-level is %q, want debug, info, warn or error", a.logLevel)
	}
	if a.quiet {
		level = max(level, slog.LevelError)
	}
	slog.SetDefault(slog.New(newLineHandler(a.stderr, level)))
	return nil
}

// deviceFlag adds --device.
func (a *app) deviceFlag() {
	a.flags.StringVar(&a.device, "device", "auto", "auto, cpu, vulkan[:N] or webgpu[:N]")
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
	return printable(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "vlmtool trains and asks encoder-free vision-language models.\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  vlmtool %-8s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "vlmtool COMMAND --help lists a command's flags.\n")
}

// version is the module's version and revision as Go has built them in.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return v + " " + info.GoVersion
}
