//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is a file system that can be filled.
type disk interface {
	folder() string
	fill(p *process) error
	empty(p *process) error
	close()
}

// fullDisk fills the disk of runs: for a while, to their end, and before their start.
func (l *lab) fullDisk() error {
	d, what, err := l.newDisk()
	if err != nil {
		return err
	}
	defer d.close()
	for i, try := range []struct {
		name string
		run  func(setting, string, disk) error
	}{
		{"for a while", l.fullForAWhile}, {"to the end", l.fullToTheEnd}, {"before the start", l.fullBefore},
	} {
		if _, limited := d.(*limit); limited && i == 2 {
			continue // a limit can only be set on a running process
		}
		s, out := l.nextSetting(), filepath.Join(d.folder(), fmt.Sprint("run-", i))
		l.runs++
		if err := try.run(s, out, d); err != nil {
			return fmt.Errorf("%s %s: %w", what, try.name, err)
		}
		if err := l.compare(s, out); err != nil {
			return err
		}
		l.table.add(s.name, what+" "+try.name, "resumed, same result")
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	return nil
}

// unsaved is in a run's message about a checkpoint that did not fit on the disk.
const unsaved = "could not be saved"

func (l *lab) fullForAWhile(s setting, out string, d disk) error {
	p, err := l.startAndFill(s, out, d)
	if err != nil {
		return err
	}
	if ended, err := p.until(p.wrote(unsaved)); ended || err != nil {
		return errors.Join(err, fmt.Errorf("no message that a checkpoint %s:\n%s", unsaved, p.stderr))
	}
	if err := d.empty(p); err != nil {
		return err
	}
	if code, _, err := p.end(); err != nil || code == 0 {
		return err
	}
	if err := p.endsWith(1); err != nil { // it was at its last checkpoint
		return err
	}
	return l.toTheEnd(s, out)
}

func (l *lab) fullToTheEnd(s setting, out string, d disk) error {
	p, err := l.startAndFill(s, out, d)
	if err != nil {
		return err
	}
	if err := p.endsWith(1); err != nil {
		return err
	}
	if text := p.stderr.String(); !strings.Contains(text, unsaved) || !strings.Contains(text, "--resume") {
		return fmt.Errorf("no message how to resume:\n%s", text)
	}
	if hasFile(out, "checkpoints/.writing-*")() || !hasFile(out, "checkpoints/step-*")() {
		return errors.New("a partial checkpoint is left, or no older one")
	}
	if err := d.empty(p); err != nil {
		return err
	}
	return l.toTheEnd(s, out)
}

func (l *lab) fullBefore(s setting, out string, d disk) error {
	if err := d.fill(nil); err != nil {
		return err
	}
	p, err := l.start(s, out)
	if err != nil {
		return err
	}
	if _, err := p.errorLine(); err != nil {
		return err
	}
	if err := d.empty(p); err != nil {
		return err
	}
	return l.toTheEnd(s, out)
}

func (l *lab) startAndFill(s setting, out string, d disk) (*process, error) {
	p, err := l.start(s, out)
	if err != nil {
		return nil, err
	}
	if ended, err := p.until(hasFile(out, "checkpoints/step-*")); ended || err != nil {
		return nil, errors.Join(err, fmt.Errorf("it ended without a checkpoint:\n%s", p.stderr))
	}
	return p, d.fill(p)
}

// newDisk is a small tmpfs where the system permits mounting one, else a limit on the size
// of a run's files.
func (l *lab) newDisk() (d disk, what string, err error) {
	if d, err := mountDisk(filepath.Join(l.dir, "disk")); err == nil {
		return d, "disk full", nil
	}
	dir := filepath.Join(l.dir, "limited")
	return &limit{dir}, "file size limited", os.MkdirAll(dir, 0o755)
}

// mounted is a tmpfs in the mount namespace of a process.
type mounted struct {
	holder *exec.Cmd
	dir    string
}

// diskBytes is enough for a run with all its checkpoints.
const diskBytes = 48 << 20

func mountDisk(dir string) (*mounted, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	script := `mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep 3600`
	holder := exec.Command("unshare", "-rm", "sh", "-c", script, "sh", fmt.Sprint(diskBytes), dir)
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := holder.Start(); err != nil {
		return nil, err
	}
	m := &mounted{holder, filepath.Join("/proc", fmt.Sprint(holder.Process.Pid), "root", dir)}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "mounted\n" {
		m.close()
		return nil, fmt.Errorf("mounting a tmpfs failed: %q %w", line, err)
	}
	return m, nil
}

func (m *mounted) folder() string { return m.dir }

func (m *mounted) fill(*process) error {
	f, err := os.Create(filepath.Join(m.dir, "filler"))
	if err != nil {
		return err
	}
	for block := make([]byte, 1<<16); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2] // to the last byte
		}
	}
	return f.Close()
}

func (m *mounted) empty(*process) error { return os.Remove(filepath.Join(m.dir, "filler")) }

func (m *mounted) close() {
	_ = m.holder.Process.Kill() // it may have ended already
	_ = m.holder.Wait()
}

// limit bounds the size of a process's files, below that of the weights.
type limit struct{ dir string }

func (l *limit) folder() string { return l.dir }

func (l *limit) fill(p *process) error { return l.set(p, 64<<10) }

func (l *limit) empty(p *process) error { return l.set(p, unix.RLIM_INFINITY) }

func (l *limit) set(p *process, bytes uint64) error {
	if p == nil {
		return nil
	}
	err := unix.Prlimit(p.command.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil)
	if errors.Is(err, unix.ESRCH) {
		return nil // it has ended
	}
	return err
}

func (l *limit) close() {}
