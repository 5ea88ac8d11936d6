// Package cli is what vlmtool's commands share: streams, global flags, errors, exit
// codes, help and completion, on top of cobra.
package cli

import (
	"bytes"
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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/internal/mpi"
	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/buildinfo"
	"patchwork/tools/vlmtool/internal/errtext"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
)

// Exit codes.
const (
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

// App is one run of vlmtool: its streams and global flags.
type App struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	JSON, Quiet    bool
	Threads        int
	Device         string // --device, where the command has it

	// World are the processes that run the command together; nil = this one alone. Run ends the
	// process if there are several.
	World *mpi.World

	logLevel string
	args     []string
	command  *cobra.Command // the one that runs
}

var errVersion = errors.New("version requested")

// Run runs a command line on the tree of commands and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, tree func(*App) *cobra.Command) int {
	ctx, out := newOutput(ctx, stdout)
	defer out.stop()
	a := &App{Stdin: os.Stdin, Stdout: out, Stderr: stderr, args: append([]string{}, args...)}
	code := a.report(a.execute(ctx, tree(a)), out)
	if err := out.failed(); err != nil && code != ExitUsage {
		a.printError(err)
		code = ExitFailed
	}
	EndQuietly() // all is said, and a launcher may end this process as soon as another has ended
	a.World.Close(code)
	return code
}

func (a *App) execute(ctx context.Context, root *cobra.Command) error {
	a.command = root
	a.prepare(root)
	if err := misplacedFlag(root, a.args); err != nil {
		return err
	}
	root.SetArgs(a.args)
	command, err := root.ExecuteContextC(ctx)
	a.command = command
	return err
}

// report prints the error of a command and returns the exit code.
func (a *App) report(err error, out *output) int {
	switch {
	case err == nil || out.failed() != nil: // Run reports the output's error
		return 0
	case errors.Is(err, errVersion):
		fmt.Fprintln(a.Stdout, "vlmtool", buildinfo.Version())
		return 0
	case errors.Is(err, context.Canceled):
		if a.World.Speaks() {
			fmt.Fprintf(a.Stderr, "%s: interrupted\n", a.command.CommandPath())
		}
		return ExitInterrupted
	}
	err = a.invocation().MissingModel(err)
	a.printError(err)
	switch {
	case !errors.As(err, &usage.Error{}):
		return ExitFailed
	case !a.World.Speaks():
	case a.command.HasSubCommands():
		fmt.Fprintf(a.Stderr, "%s --help lists the commands\n", a.command.CommandPath())
	default:
		fmt.Fprintf(a.Stderr, "%s --help lists the flags\n", a.command.CommandPath())
	}
	return ExitUsage
}

// printError prints an error, on one of the processes that run the command together.
func (a *App) printError(err error) {
	if !a.World.Speaks() {
		return
	}
	fmt.Fprintf(a.Stderr, "%s: %s%s\n", a.command.CommandPath(), errtext.Line(err), a.invocation().Advice(err))
}

func (a *App) invocation() errtext.Invocation {
	i := errtext.Invocation{Command: commandName(a.command), Args: a.args, Flags: a.command.Flags()}
	if i.Flags.Lookup("device") != nil {
		i.Device = a.Device
	}
	return i
}

// commandName is a command's name without the program's: "bench kernels".
func commandName(c *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "vlmtool"), " ")
}

// globalFlags declares the flags of every command.
func (a *App) globalFlags(s *pflag.FlagSet) {
	s.SortFlags = false
	s.BoolVar(&a.JSON, "json", false, "write JSON to standard output, one object per line, the result last")
	s.BoolVarP(&a.Quiet, "quiet", "q", false, "write only results and errors")
	Choice(s, &a.logLevel, "log-level", "info", "log messages of at least `LEVEL`", "debug", "info", "warn", "error")
	s.IntVar(&a.Threads, "threads", 0, "use `N` CPU threads; 0 = all cores")
	s.Bool("version", false, "print the version")
	s.BoolP("help", "h", false, "print this help")
}

// start checks the flags and sets the logger up, before a command runs.
func (a *App) start(c *cobra.Command, _ []string) error {
	a.command = c
	if version, _ := c.Flags().GetBool("version"); version {
		return errVersion
	}
	if err := checkFlags(c.Flags()); err != nil {
		return err
	}
	if a.Threads < 0 {
		return usage.Errorf("--threads cannot be %d; 0 uses all cores", a.Threads)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return err
	}
	if a.Quiet {
		level = max(level, slog.LevelError)
	}
	slog.SetDefault(slog.New(terminal.NewLogHandler(a.Stderr, level)))
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Hidden {
			slog.Warn(fmt.Sprintf("%s ignores --%s", commandName(c), f.Name))
		}
	})
	return nil
}

// Changed reports whether a flag was given.
func (a *App) Changed(flag string) bool { return a.command.Flags().Changed(flag) }

// Result writes a value as a line of JSON.
func (a *App) Result(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = a.Stdout.Write(append(escapeControls(line), '\n'))
	return err
}

// escapeControls escapes the control characters that JSON permits: DEL and U+0080 to
// U+009F, of which U+009B begins an escape sequence.
func escapeControls(line []byte) []byte {
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

// Progress replaces the progress line of a terminal; "" clears it. Elsewhere it writes
// nothing.
func (a *App) Progress(format string, args ...any) {
	if a.Quiet || !terminal.IsTerminal(a.Stderr) {
		return
	}
	fmt.Fprintf(a.Stderr, "\r\x1b[K%.100s", fmt.Sprintf(format, args...))
}

// ReadFile reads a file of at most limit bytes, or standard input where the name is -.
func (a *App) ReadFile(name string, limit int64) ([]byte, error) {
	if name == "-" {
		return smallfile.ReadFrom(a.Stdin, "standard input", limit)
	}
	return smallfile.Read(name, limit)
}
