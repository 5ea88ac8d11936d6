package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/internal/watch"
)

// lines collects output and calls each after every write.
type lines struct {
	mu   sync.Mutex
	all  bytes.Buffer
	each func(all string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	l.each(l.all.String())
	return len(p), nil
}

// TestMonitoring trains with a page and event files, requests the page after the first
// validation, and checks the event files at the end.
func TestMonitoring(t *testing.T) {
	_, file := smallRun(t)
	events := filepath.Join(t.TempDir(), "events")
	address := regexp.MustCompile(`watch the run at (http://127\.0\.0\.1:\d+/)`)
	var seen struct {
		Name, Device string
		State        watch.State
		Validations  []watch.Validation
	}
	var metrics string
	stderr := &lines{}
	stderr.each = func(all string) {
		at := address.FindStringSubmatch(all)
		if at == nil || metrics != "" || !strings.Contains(all, "validation after step 2") {
			return
		}
		get := func(path string) []byte {
			answer, err := http.Get(at[1] + path)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s, %v", path, answer.Status, err)
			}
			return body
		}
		metrics = string(get("metrics"))
		if err := json.Unmarshal(get("api/run"), &seen); err != nil {
			t.Error(err)
		}
	}
	out := filepath.Join(t.TempDir(), "run")
	args := []string{"train", "--data", file, "--out", out, "--device", "cpu", "--steps", "2", "--seq-len", "160", "--pool-size", "8", "--val-every", "2", "--listen", ":0", "--tensorboard", events, "--peak-tflops", "1"}
	if code := run(context.Background(), args, io.Discard, stderr); code != 0 {
		t.Fatalf("exit %d:\n%s", code, stderr.all.String())
	}
	if !strings.Contains(metrics, "vlmtool_train_steps_total 2\n") || !strings.Contains(metrics, "vlmtool_train_peak_ratio") {
		t.Errorf("metrics:\n%.1000s", metrics)
	}
	if seen.Name != out || seen.Device != "cpu" || seen.State.Phase != watch.Training || seen.State.Step != 2 || len(seen.Validations) != 1 || len(seen.Validations[0].Samples) == 0 {
		t.Errorf("the page's state is %+v", seen)
	}
	files, err := filepath.Glob(filepath.Join(events, "events.out.tfevents.*"))
	require.NoError(t, err)
	if len(files) != 1 {
		t.Errorf("%d event files", len(files))
	}
	if text := stderr.all.String(); !strings.Contains(text, "% of peak") || strings.Contains(text, "\x1b") {
		t.Errorf("without a terminal:\n%q", text)
	}
}
