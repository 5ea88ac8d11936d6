//go:build !js

package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/tools/internal/listen"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/pretrained"
	"patchwork/vlm/serve"
)

type flags struct {
	model, listen, keyFile string
	storage                cli.Storage
	imageTokens            int
	schedule               serve.Options
}

// Command is vlmtool serve.
func Command(a *cli.App) *cobra.Command {
	f := &flags{}
	c := &cobra.Command{
		Use:   "serve --model DIR|FILE.gguf [--listen HOST:PORT]",
		Short: "Serve a model to other programs, with OpenAI's HTTP API",
		Long: `Answers HTTP requests of OpenAI's API: chat completions with text, pictures and sound, streamed or
whole, and text completions. Only programs on this machine can ask, unless --listen names another
address. The server fetches nothing that a request names and reads no file for it. Ctrl-C ends it.`,
		Example: `  # the model that make demo trains
  vlmtool serve --model demo/model
  # for other machines, with a key
  vlmtool serve --model run --listen 0.0.0.0:8080 --api-key-file keys.txt`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return f.run(c.Context(), a)
		},
	}
	s := c.Flags()
	s.StringVar(&f.model, "model", "", "load the model at `PATH`: a model's folder, or a text-only decoder as a Hugging Face folder or GGUF file")
	s.StringVar(&f.listen, "listen", "127.0.0.1:8080", "listen at `HOST:PORT`; without a host only this machine can ask, port 0 is any")
	s.StringVar(&f.keyFile, "api-key-file", "", "answer only requests with an API key of `FILE`, one a line; clients with different keys take turns")
	cli.ImageTokensFlag(s, &f.imageTokens)
	cli.Group(c, "Requests", func(s *pflag.FlagSet) {
		s.IntVar(&f.schedule.Parallel, "parallel", 4, "generate `N` answers at a time, a token of each in turn")
		s.IntVar(&f.schedule.Queue, "queue", 64, "let `N` more requests wait; beyond them a request gets status 429")
		s.IntVar(&f.schedule.Context, "context", 0, "give a prompt and its answer at most `N` tokens together; 0 = as many as the model takes")
	})
	cli.Group(c, "Device", func(s *pflag.FlagSet) {
		f.storage.Declare(s)
		device.Flag(a, s)
	})
	return c
}

func (f *flags) check() (err error) {
	switch {
	case f.model == "":
		return usage.Errorf("--model is missing: a model's folder")
	case f.schedule.Parallel < 1:
		return usage.Errorf("--parallel cannot be %d, want 1 or more", f.schedule.Parallel)
	case f.schedule.Queue < 0:
		return usage.Errorf("--queue cannot be %d, want 0 or more", f.schedule.Queue)
	case f.schedule.Context < 0 || f.schedule.Context == 1:
		return usage.Errorf("--context cannot be %d, want 2 or more, or 0", f.schedule.Context)
	}
	if f.listen, err = listen.Address(f.listen); err != nil {
		return usage.Errorf("--listen: %v", err)
	}
	return cmp.Or(cli.CheckImageTokens(f.imageTokens), f.storage.Check())
}

// maxKeyBytes is far above what fits in a request's header.
const maxKeyBytes = 4096

// keys reads the API keys.
func (f *flags) keys() ([]string, error) {
	if f.keyFile == "" {
		return nil, nil
	}
	text, err := smallfile.Read(f.keyFile, smallfile.Config)
	if err != nil {
		return nil, fmt.Errorf("--api-key-file %w", err)
	}
	var keys []string
	for i, line := range strings.Split(string(text), "\n") {
		key := strings.TrimSpace(line)
		switch {
		case key == "":
		case len(key) > maxKeyBytes || strings.ContainsFunc(key, func(r rune) bool { return unicode.IsSpace(r) || r < ' ' || r > '~' }):
			return nil, fmt.Errorf("--api-key-file %s: line %d is no API key; want letters, digits and signs of ASCII, without spaces", f.keyFile, i+1)
		case !slices.Contains(keys, key):
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("--api-key-file %s has no key; write one on a line", f.keyFile)
	}
	return keys, nil
}

// loaded is the model on its device.
type loaded struct {
	flags  *flags
	app    *cli.App
	device engine.Device
	runner *vlm.Runner
}

// open opens the device and loads the model.
func (l *loaded) open() (_ *vlm.Runner, err error) {
	if l.device, err = device.Open(l.app); err != nil {
		return nil, err
	}
	if l.runner, err = pretrained.LoadWith(l.flags.model, l.device, l.flags.storage.Options()); err != nil {
		l.close()
		return nil, err
	}
	debug.FreeOSMemory() // what loading left
	if err := cli.SetImageTokens(&l.runner.Config.Vision, l.flags.imageTokens, l.flags.model); err != nil {
		l.close()
		return nil, err
	}
	return l.runner, nil
}

// reopen is open after the device was lost.
func (l *loaded) reopen() (*vlm.Runner, error) {
	l.close()
	return l.open()
}

func (l *loaded) close() {
	if l.runner != nil {
		l.runner.Close()
	}
	if l.device != nil {
		l.device.Close()
	}
	l.runner, l.device = nil, nil
}

// ModelID is the name of a model in the API: that of its folder or file.
func ModelID(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return strings.TrimSuffix(filepath.Base(path), ".gguf")
}

// started is the line of --json.
type started struct {
	URL         string `json:"url"`
	Model       string `json:"model"`
	Device      string `json:"device"`
	Context     int    `json:"context"`
	MemoryBytes int64  `json:"memory_bytes"`
}

func (f *flags) run(ctx context.Context, a *cli.App) error {
	keys, err := f.keys()
	if err != nil {
		return err
	}
	l := &loaded{flags: f, app: a}
	runner, err := l.open()
	if err != nil {
		return err
	}
	defer l.close()
	f.schedule.Reopen = l.reopen
	scheduler, err := serve.NewBatched(runner, f.schedule)
	if err != nil {
		return err
	}
	defer scheduler.Close()
	m := model{ID: ModelID(f.model), Config: runner.Config, Processor: runner.Processor, Created: time.Now()}
	web, err := listen.Start(f.listen, options(newServer(m, scheduler, keys), f.schedule))
	if err != nil {
		return fmt.Errorf("--listen: %w; use another port, or port 0 for any", err)
	}
	cli.EndGracefully()
	slog.Info(fmt.Sprintf("%s is served at %sv1", m.ID, web.URL))
	if web.Open && len(keys) == 0 {
		slog.Warn("--listen " + f.listen + ": anyone who can reach this machine over the network can ask the model; --api-key-file restricts it")
	}
	if a.JSON {
		err = a.Result(started{web.URL, m.ID, l.device.Info().Device, scheduler.Context(), scheduler.Stats().MemoryBytes})
	}
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	scheduler.Close() // answers under way end first
	return errors.Join(err, web.Close())
}

// options are the limits of the HTTP server: connections of all requests that may wait, and some more.
func options(s *server, o serve.Options) listen.Options {
	const more = 64
	return listen.Options{
		Handler: s.handler(), Connections: o.Parallel + o.Queue + more, HeaderTimeout: headTime, ReadTimeout: bodyTime, WriteTimeout: bodyTime + writeTime,
		Refuse: func(w http.ResponseWriter, reason string) {
			writeError(w, invalid("", "%s", reason).withStatus(http.StatusForbidden).withCode("forbidden"))
		},
	}
}
