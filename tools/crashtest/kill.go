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

// moments are patterns of files: a run is killed shortly after such a file appears, or, for
// "", at any time. The probability is the number of occurrences.
var moments = []string{"", "", "run.json", "metrics.jsonl", "checkpoints/.writing-*", "checkpoints/.writing-*", "checkpoints/.writing-*/SHA256SUMS", "checkpoints/.old-*", ".model", ".model/model.safetensors"}

// kills kills runs n times in total and lets every run finish.
func (l *lab) kills(n int) error {
	killedDuring := map[string]map[string]int{} // by setting and activity
	ends := map[string]int{}
	for done := 0; done < n; {
		s, out := l.nextSetting(), l.folder()
		if killedDuring[s.name] == nil {
			killedDuring[s.name] = map[string]int{}
		}
		for done < n {
			activity, err := l.kill(s, out)
			if err != nil {
				return err
			}
			if activity == "" {
				break
			}
			killedDuring[s.name][activity]++
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
		for _, activity := range slices.Sorted(maps.Keys(killedDuring[s.name])) {
			total += killedDuring[s.name][activity]
			where = append(where, fmt.Sprintf("%d %s", killedDuring[s.name][activity], activity))
		}
		if total > 0 {
			l.table.add(s.name, fmt.Sprintf("kills: %d (%s)", total, strings.Join(where, ", ")), fmt.Sprintf("runs that resumed with the same result: %d", ends[s.name]))
		}
	}
	return nil
}

// kill resumes a run and kills it at a random moment. It returns what the run was doing,
// "" if it had finished.
func (l *lab) kill(s setting, out string) (activity string, err error) {
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
		seen, skip := hasFile(out, at), l.random.IntN(8)
		if !strings.HasPrefix(at, "checkpoints/") {
			skip = 0 // it appears once
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

// interrupted is the activity of a killed run, by the files it left.
func interrupted(out string) string {
	for _, w := range []struct{ pattern, activity string }{
		{".model", "writing the model"}, {"checkpoints/.writing-*", "writing a checkpoint"}, {"checkpoints/.old-*", "removing an old checkpoint"}, {"*.tmp", "replacing a file"},
	} {
		if hasFile(out, w.pattern)() {
			return w.activity
		}
	}
	if !exists(filepath.Join(out, "metrics.jsonl")) {
		return "starting"
	}
	return "in or between steps"
}
