package web

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patchwork/tools/internal/listen"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/usage"
)

// Command is vlmtool web.
func Command(a *cli.App) *cobra.Command {
	address := "127.0.0.1:8090"
	c := &cobra.Command{
		Use:   "web SITE [--listen HOST:PORT]",
		Short: "Serve a site of export --web on this machine",
		Long: `Serves the folder that export --web wrote, as any server of static files can. The model runs in the
browser that opens it. Ctrl-C ends it.`,
		Example: `  # the page of the model that make demo trains
  vlmtool web demo/web`,
		Args: cli.MaxArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.Errorf("the site is missing: a folder that export --web wrote")
			}
			at, err := listen.Address(address)
			if err != nil {
				return usage.Errorf("--listen: %v", err)
			}
			site, err := open(args[0])
			if err != nil {
				return err
			}
			defer site.Close()
			web, err := listen.Start(at, options(site.FS()))
			if err != nil {
				return fmt.Errorf("--listen: %w; use another port, or port 0 for any", err)
			}
			cli.EndGracefully()
			slog.Info(fmt.Sprintf("%s is at %s", args[0], web.URL))
			if web.Open {
				slog.Warn("--listen " + address + ": browsers of other machines give the page no GPU and no cache without https")
			}
			if a.JSON {
				err = a.Result(map[string]string{"url": web.URL})
			}
			if err == nil {
				<-c.Context().Done()
				err = c.Context().Err()
			}
			return errors.Join(err, web.Close())
		},
	}
	c.Flags().StringVar(&address, "listen", address, "listen at `HOST:PORT`; without a host only this machine can open the page, port 0 is any")
	return c
}

// open opens a site's folder, from which no path leads out.
func open(dir string) (*os.Root, error) {
	if _, err := os.Stat(filepath.Join(dir, "model.json")); err != nil {
		return nil, fmt.Errorf("%s is no site of export --web: %w", dir, err)
	}
	return os.OpenRoot(dir)
}

// options serve a site's files.
func options(site fs.FS) listen.Options {
	files := http.FileServerFS(site)
	return listen.Options{
		Connections: 64, HeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" && strings.HasSuffix(r.URL.Path, "/") {
				http.NotFound(w, r) // no lists of files
				return
			}
			w.Header().Set("Content-Security-Policy", policy+"; frame-ancestors 'none'")
			w.Header().Set("Cache-Control", "no-cache") // but for what has not changed
			files.ServeHTTP(w, r)
		}),
		Refuse: func(w http.ResponseWriter, reason string) { http.Error(w, reason, http.StatusForbidden) },
	}
}
