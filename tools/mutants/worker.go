package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"patchwork/engine"
	"patchwork/engine/conformance/mutation"
	"patchwork/engine/webgpu"
)

// job is a mutant to plant in a variant.
type job struct {
	Host   string          `json:"host"`
	Mutant mutation.Mutant `json:"mutant"`
}

type answer struct {
	Outcome mutation.Outcome `json:"outcome"`
	Error   string           `json:"error,omitempty"`
}

// serve is the process that a mutant may stop: it answers jobs, a line each.
func serve(in io.Reader, out io.Writer) error {
	hosts, err := allHosts()
	if err != nil {
		return err
	}
	dev, err := openSoftware()
	if err != nil {
		return err
	}
	defer dev.Close()
	suite := mutation.NewSuite(dev)
	jobs, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var j job
		if err := jobs.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		if a.Outcome, err = suite.Try(context.Background(), hosts[j.Host], j.Mutant); err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func allHosts() (map[string]mutation.Host, error) {
	sources, err := mutation.Sources()
	hosts := map[string]mutation.Host{}
	for _, s := range sources {
		for _, h := range s.Hosts {
			hosts[h.ID()] = h
		}
	}
	return hosts, err
}

// openSoftware opens a device in software: an error that makes a loop endless
// would take a graphics card away from whoever looks at it.
func openSoftware() (engine.Device, error) {
	infos, err := webgpu.List()
	for i, info := range infos {
		if info.Kind == "software" {
			return webgpu.Open(i)
		}
	}
	return nil, fmt.Errorf("no WebGPU device in software (on Debian: apt install mesa-vulkan-drivers): %w", errors.Join(err, engine.ErrNoDevice))
}

// worker is a process that serves; one that stops is replaced.
type worker struct {
	limit   time.Duration
	command *exec.Cmd // nil when none runs
	in      io.WriteCloser
	lines   chan []byte
	jobs    int
}

// perWorker is how many mutants a process takes: a device keeps every pipeline.
const perWorker = 400

// try plants a mutant and waits for what becomes of it, at most for the limit.
func (w *worker) try(ctx context.Context, j job) (mutation.Outcome, error) {
	if w.jobs++; w.jobs%perWorker == 0 {
		w.stop()
	}
	if w.command == nil {
		if err := w.start(); err != nil {
			return "", err
		}
	}
	if err := json.NewEncoder(w.in).Encode(j); err != nil {
		w.stop()
		return mutation.Stopped, nil
	}
	timer := time.NewTimer(w.limit)
	defer timer.Stop()
	select {
	case line, ok := <-w.lines:
		if !ok {
			w.stop()
			return mutation.Stopped, nil
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			return "", fmt.Errorf("a worker said %q: %w", line, err)
		}
		if a.Error != "" {
			return "", errors.New(a.Error)
		}
		return a.Outcome, nil
	case <-timer.C:
		w.stop()
		return mutation.Stopped, nil
	case <-ctx.Done():
		w.stop()
		return "", ctx.Err()
	}
}

func (w *worker) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.command = exec.Command(self, "-worker")
	w.command.Stderr = io.Discard // a driver's last words
	if w.in, err = w.command.StdinPipe(); err != nil {
		return err
	}
	out, err := w.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.command.Start(); err != nil {
		return err
	}
	lines := make(chan []byte, 1)
	w.lines = lines
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- []byte(s.Text())
		}
	}()
	return nil
}

func (w *worker) stop() {
	if w.command == nil {
		return
	}
	w.in.Close()
	w.command.Process.Kill()
	w.command.Wait()
	w.command = nil
}
