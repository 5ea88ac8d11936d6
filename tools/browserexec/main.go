// Browserexec runs a program for js/wasm in a headless Chromium, with WebGPU in software:
//
//	GOOS=js GOARCH=wasm go test -exec 'browserexec' ./engine/browser
//
// Its output and exit status are the program's. CHROMIUM names another browser, and
// BROWSEREXEC_ADAPTER another adapter than swiftshader: empty for the machine's GPU.
package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"patchwork/engine/browser"
	"patchwork/shaders/wasm"
)

//go:embed page
var page embed.FS

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: browserexec PROGRAM.wasm [ARGUMENT...]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "browserexec:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// run runs a program with its arguments and returns its exit status.
func run(ctx context.Context, args []string) (int, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return 0, fmt.Errorf("go env: %w", err)
	}
	exited := make(chan int, 1)
	mux := http.NewServeMux()
	mux.Handle("GET /page/", http.FileServerFS(page))
	for name, file := range map[string]string{"program.wasm": args[0], "wasm_exec.js": filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	for name, script := range map[string][]byte{"simd.js": wasm.Loader, "browser.js": browser.Script} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(script))
		})
	}
	mux.HandleFunc("GET /start.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"argv": args, "env": environment()})
	})
	mux.HandleFunc("POST /output", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(os.Stdout, r.Body) })
	mux.HandleFunc("POST /exit", func(_ http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Query().Get("code"))
		if err != nil {
			code = 1
		}
		select {
		case exited <- code:
		default:
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := browse(ctx, fmt.Sprintf("http://%s/page/", listener.Addr()))
	if err != nil {
		return 0, err
	}
	select {
	case code := <-exited:
		cancel()
		<-ended
		return code, nil
	case err := <-ended:
		return 0, fmt.Errorf("the browser ended before the program: %w", errors.Join(err, ctx.Err()))
	}
}

// environment are the variables that the program gets.
func environment() map[string]string {
	env := map[string]string{}
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PATCHWORK_") {
			env[name] = value
		}
	}
	return env
}

// browse opens a page in a headless browser, which lives as long as the context.
func browse(ctx context.Context, url string) (ended <-chan error, err error) {
	profile, err := os.MkdirTemp("", "browserexec")
	if err != nil {
		return nil, err
	}
	path := os.Getenv("CHROMIUM")
	if path == "" {
		path = "chromium"
	}
	adapter, given := os.LookupEnv("BROWSEREXEC_ADAPTER")
	if !given {
		adapter = "swiftshader"
	}
	flags := []string{"--headless", "--no-sandbox", "--no-first-run", "--user-data-dir=" + profile, "--enable-unsafe-webgpu"}
	if adapter != "" {
		flags = append(flags, "--use-webgpu-adapter="+adapter)
	}
	c := exec.CommandContext(ctx, path, append(flags, url)...)
	if err := c.Start(); err != nil {
		os.RemoveAll(profile)
		return nil, fmt.Errorf("%w (on Debian: apt install chromium)", err)
	}
	done := make(chan error, 1)
	go func() {
		err := c.Wait()
		os.RemoveAll(profile)
		done <- err
	}()
	return done, nil
}
