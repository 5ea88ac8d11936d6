//go:build linux

package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// moments are what a run is killed at, or shortly after: any time at all, or when
// something appears in its folder. Each is as likely as it is often named.
var moments = []string{"", "", "run.json", "metrics.jsonl", "checkpoints/.writing-*", "checkpoints/.writing-*", "checkpoints/.writing-*/SHA256SUMS", "checkpoints/.old-*", ".model", ".model/model.safetensors"}

// kills kills runs so many times in all, and lets each end between.
func (l *lab) kills(n int) error {
	landed := map[string]map[string]int{} // by setting and by what was interrupted
	ends := map[string]int{}
	for done := 0; done < n; {
		s, out := l.some(), l.folder()
		if landed[s.name] == nil {
			landed[s.name] = map[string]int{}
		}
		for done < n {
			during, err := l.kill(s, out)
			if err != nil {
				return err
			}
			if during == "" {
				break
			}
			landed[s.name][during]++
			done++
		}
		if err := l.toTheEnd(s, out); err != nil {
			return err
		}
		if err := l.compare(s, out); err != nil {
			return err
		}
		ends[s.name]++
	}
	for _, s := range l.settings {
		total := 0
		var where []string
		for _, during := range slices.Sorted(maps.Keys(landed[s.name])) {
			total += landed[s.name][during]
			where = append(where, fmt.Sprintf("%d %s", landed[s.name][during], during))
		}
		if total > 0 {
			l.table.add(s.name, fmt.Sprintf("kills: %d (%s)", total, strings.Join(where, ", ")), fmt.Sprintf("runs that went on and ended alike: %d", ends[s.name]))
		}
	}
	return nil
}

// kill lets a run go on and kills it at a random moment. It returns what it was
// doing, "" where it came to its end before.
func (l *lab) kill(s setting, out string) (during string, err error) {
	p, err := l.start(s, out)
	if err != nil {
		return "", err
	}
	if at := moments[l.random.IntN(len(moments))]; at == "" {
		when := time.Now().Add(time.Duration(l.random.Float64() * float64(l.took[s.name])))
		if _, err := p.until(func() bool { return time.Now().After(when) }); err != nil {
			return "", err
		}
	} else {
		seen, skip := there(out, at), l.random.IntN(8)
		if !strings.HasPrefix(at, "checkpoints/") {
			skip = 0 // it comes once
		}
		for i := 0; i <= skip; i++ {
			if i > 0 {
				if _, err := p.until(func() bool { return !seen() }); err != nil {
					return "", err
				}
			}
			if _, err := p.until(seen); err != nil {
				return "", err
			}
		}
		time.Sleep(time.Duration(l.random.Float64() * float64(8*time.Millisecond)))
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return "", err
	}
	_, killed, err := p.end()
	if err != nil || killed == 0 {
		return "", err
	}
	return interrupted(out), nil
}

// interrupted says what a run was doing that was killed, by what it left.
func interrupted(out string) string {
	for _, w := range []struct{ pattern, during string }{
		{".model", "writing the model"}, {"checkpoints/.writing-*", "writing a checkpoint"}, {"checkpoints/.old-*", "removing an old checkpoint"}, {"*.tmp", "replacing a file"},
	} {
		if there(out, w.pattern)() {
			return w.during
		}
	}
	if !exists(filepath.Join(out, "metrics.jsonl")) {
		return "starting"
	}
	return "in or between steps"
}
