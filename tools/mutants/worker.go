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
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/engine/conformance/mutation"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
	"patchwork/shaders/naga"
)

// job is a mutant to plant in variants, one by one.
type job struct {
	Hosts  []string        `json:"hosts"`
	Mutant mutation.Mutant `json:"mutant"`
}

// answer is the outcome of a job. Answers without an outcome come before it as heartbeats.
type answer struct {
	Outcome mutation.Outcome `json:"outcome,omitempty"`
	Error   string           `json:"error,omitempty"`
}

// serve is the worker process, which a mutant may crash: it answers jobs, a line each.
func serve(in io.Reader, out io.Writer) error {
	hosts, err := allHosts()
	if err != nil {
		return err
	}
	jobs, answers := json.NewDecoder(in), json.NewEncoder(out)
	s := suites{alive: func() { answers.Encode(answer{}) }}
	defer s.close()
	for {
		var j job
		if err := jobs.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var all []mutation.Host
		for _, id := range j.Hosts {
			all = append(all, hosts[id])
		}
		var a answer
		if a.Outcome, err = s.try(all, j.Mutant); err != nil {
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

// suites has a suite on WebGPU, which compiles WGSL itself, and one on Vulkan for variants
// that WebGPU cannot compile. Devices are opened when needed.
type suites struct {
	alive          func()
	webgpu, vulkan *mutation.Suite
	devices        []engine.Device
}

func (s *suites) try(hosts []mutation.Host, m mutation.Mutant) (mutation.Outcome, error) {
	var plain, subgroup []mutation.Host
	for _, h := range hosts {
		if h.Subgroup() {
			subgroup = append(subgroup, h)
		} else {
			plain = append(plain, h)
		}
	}
	outcome := mutation.Invalid
	if len(plain) > 0 {
		if err := s.open(&s.webgpu, webgpu.List, webgpu.Open, nil); err != nil {
			return "", err
		}
		var err error
		if outcome, err = s.webgpu.Try(context.Background(), plain, m); err != nil || outcome == mutation.Killed {
			return outcome, err
		}
	}
	if len(subgroup) == 0 {
		return outcome, nil
	}
	if err := s.open(&s.vulkan, vulkan.List, vulkan.Open, naga.CompileBounded); err != nil {
		return "", err
	}
	more, err := s.vulkan.Try(context.Background(), subgroup, m)
	return outcome.And(more), err
}

// open creates a suite on a software device if needed: a mutant with an endless loop would
// hang a graphics card.
func (s *suites) open(suite **mutation.Suite, list func() ([]engine.Info, error), open func(int) (engine.Device, error), compile func(string) ([]byte, error)) error {
	if *suite != nil {
		return nil
	}
	infos, err := list()
	i := slices.IndexFunc(infos, func(i engine.Info) bool { return i.Kind == "software" })
	if i < 0 {
		return fmt.Errorf("no software device (on Debian: apt install mesa-vulkan-drivers): %w", errors.Join(err, engine.ErrNoDevice))
	}
	dev, err := open(i)
	if err != nil {
		return err
	}
	s.devices = append(s.devices, dev)
	*suite = mutation.NewSuite(dev, compile)
	(*suite).Alive = s.alive
	return nil
}

func (s *suites) close() {
	for _, d := range s.devices {
		d.Close()
	}
}

// worker is a worker process; one that stops is replaced.
type worker struct {
	limit   time.Duration
	command *exec.Cmd // nil when none runs
	in      io.WriteCloser
	lines   chan []byte
	jobs    int
}

// perWorker limits the mutants per process, since a device keeps every pipeline.
const perWorker = 400

// try plants a mutant and waits for the outcome, at most the limit for each case.
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
	for {
		a, err := w.next(ctx)
		switch {
		case err != nil:
			return "", err
		case a == nil:
			return mutation.Stopped, nil
		case a.Error != "":
			return "", errors.New(a.Error)
		case a.Outcome != "":
			return a.Outcome, nil
		}
	}
}

// next is the process's next answer, nil if it stopped or exceeded the limit.
func (w *worker) next(ctx context.Context) (*answer, error) {
	timer := time.NewTimer(w.limit)
	defer timer.Stop()
	select {
	case line, ok := <-w.lines:
		if !ok {
			w.stop()
			return nil, nil
		}
		a := new(answer)
		if err := json.Unmarshal(line, a); err != nil {
			return nil, fmt.Errorf("a worker wrote %q: %w", line, err)
		}
		return a, nil
	case <-timer.C:
		w.stop()
		return nil, nil
	case <-ctx.Done():
		w.stop()
		return nil, ctx.Err()
	}
}

func (w *worker) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.command = exec.Command(self, "-worker")
	w.command.Stderr = io.Discard // messages of a crashing driver
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
	w.command.Process.Kill()
	w.in.Close()
	w.command.Wait()
	w.command = nil
}
