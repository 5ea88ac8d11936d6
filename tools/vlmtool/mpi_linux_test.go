package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/data"
)

// job is vlmtool started by mpirun.
type job struct {
	*exec.Cmd
	out   bytes.Buffer
	ended chan error
}

// mpirun starts n ranks of vlmtool with arguments. It skips the test where there is no mpirun.
func mpirun(t *testing.T, n int, args ...string) *job {
	t.Helper()
	path, err := exec.LookPath("mpirun")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mpirun is missing: apt-get install openmpi-bin")
		}
		t.Skip("needs mpirun (apt-get install openmpi-bin)")
	}
	own := []string{"-np", fmt.Sprint(n), os.Args[0]}
	if version, _ := exec.Command(path, "--version").Output(); bytes.Contains(version, []byte("Open MPI")) {
		own = append([]string{"--allow-run-as-root", "--oversubscribe", "--bind-to", "none"}, own...)
	}
	j := &job{Cmd: exec.CommandContext(t.Context(), path, append(own, args...)...), ended: make(chan error, 1)}
	j.Env = append(os.Environ(), asMain+"=1", "GOMAXPROCS=1")
	j.Stdout, j.Stderr, j.WaitDelay = &j.out, &j.out, 5*time.Second
	require.NoError(t, j.Start())
	go func() { j.ended <- j.Wait() }()
	return j
}

// ends waits for the job, which must end within a minute, and returns its output and exit code.
func (j *job) ends(t *testing.T) (string, int) {
	t.Helper()
	select {
	case <-j.ended:
	case <-time.After(time.Minute):
		_ = j.Process.Kill()
		<-j.ended
		t.Errorf("the job has not ended after a minute:\n%s", &j.out)
	}
	return j.out.String(), j.ProcessState.ExitCode()
}

// lossesOf are the losses of a run's metrics.jsonl.
func lossesOf(t *testing.T, out string) (losses []float64) {
	t.Helper()
	text := require.Value(os.ReadFile(filepath.Join(out, "metrics.jsonl")))(t)
	for line := range bytes.Lines(text) {
		var m struct{ Loss *float64 }
		require.NoError(t, json.Unmarshal(line, &m))
		if m.Loss != nil {
			losses = append(losses, *m.Loss)
		}
	}
	return losses
}

// rowsFile writes n rows with an image and a few words each.
func rowsFile(t *testing.T, n int) string {
	t.Helper()
	set := require.Value(data.Open(t.Context(), data.Local(filepath.Join(quirks, "train-00000-of-00001.parquet"))))(t)
	row := require.Value(set.Row(2))(t) // an ordinary row
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w := require.Value(data.Create(path))(t)
	for i := range n {
		answer := []string{"red", "a blue one", "three of them"}[i%3]
		require.NoError(t, w.Write(data.Row{Images: row.Images, Turns: []data.Turn{{User: fmt.Sprintf("what is shape %d?", i), Assistant: answer}}}))
	}
	require.NoError(t, w.Close())
	return path
}

// rankArgs train a tiny model.
func rankArgs(t *testing.T, out string, more ...string) []string {
	return append([]string{"train", "--data", rowsFile(t, 40), "--out", out, "--device", "cpu", "--seq-len", "160", "--val-every", "0"}, more...)
}

// TestMPIRun: two processes that mpirun starts train as one does on the same rows a step. The
// result tells their number, once.
func TestMPIRun(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	text, code := mpirun(t, 2, rankArgs(t, two, "--steps", "8", "--batch-size", "1", "--shard-optimizer", "--json", "--quiet")...).ends(t)
	var result struct{ Ranks, Steps int }
	if err := json.Unmarshal([]byte(text), &result); err != nil || code != 0 || result.Ranks != 2 || result.Steps != 8 {
		t.Fatalf("exit %d, %v: %s", code, err, text)
	}
	if o := vlmtool(rankArgs(t, one, "--steps", "8", "--batch-size", "2")...); o.code != 0 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	got, want := lossesOf(t, two), lossesOf(t, one)
	for i := range want {
		if d := got[i] - want[i]; d > 1e-4 || d < -1e-4 { // another order of sums
			t.Errorf("the loss of step %d is %v with two ranks, %v with one", i+1, got[i], want[i])
		}
	}
	var file struct{ Ranks int }
	require.NoError(t, json.Unmarshal(require.Value(os.ReadFile(filepath.Join(two, "run.json")))(t), &file))
	if file.Ranks != 2 {
		t.Errorf("run.json tells %d ranks, want 2", file.Ranks)
	}
}

// pidOf is the process of a rank among the children of mpirun.
func (j *job) pidOf(t *testing.T, rank int) int {
	t.Helper()
	children := require.Value(os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", j.Process.Pid, j.Process.Pid)))(t)
	for _, field := range strings.Fields(string(children)) {
		environ, err := os.ReadFile("/proc/" + field + "/environ")
		for _, v := range []string{"OMPI_COMM_WORLD_RANK", "PMI_RANK"} {
			if err == nil && bytes.Contains(append([]byte{0}, environ...), fmt.Appendf(nil, "\x00%s=%d\x00", v, rank)) {
				var pid int
				fmt.Sscan(field, &pid)
				return pid
			}
		}
	}
	t.Skipf("rank %d is no child of this mpirun", rank)
	return 0
}

// TestMPIRankDies: whichever rank is killed or stopped, the job ends, a line names the rank, the
// checkpoint stays and the run resumes.
func TestMPIRankDies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds a rank")
	}
	host := require.Value(os.Hostname())(t)
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		rank   int
		want   string
	}{
		{"killed", syscall.SIGKILL, 1, "rank 1"}, // mpirun reports it
		{"stopped", syscall.SIGSTOP, 1, "rank 1 (" + host + "): has not answered"},
		{"rank 0 stopped", syscall.SIGSTOP, 0, "rank 0 (" + host + "): has not answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			args := rankArgs(t, out, "--steps", "100000", "--save-every", "2", "--rank-timeout", "6s")
			j := mpirun(t, 2, args...)
			saved := func() bool {
				names, _ := filepath.Glob(filepath.Join(out, "checkpoints", "step-*"))
				return len(names) > 0
			}
			for deadline := time.Now().Add(time.Minute); !saved(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					_ = j.Process.Kill()
					t.Fatalf("no checkpoint after a minute:\n%s", &j.out)
				}
			}
			require.NoError(t, syscall.Kill(j.pidOf(t, c.rank), c.signal))
			text, code := j.ends(t)
			if code == 0 || !strings.Contains(text, c.want) || c.signal == syscall.SIGSTOP && strings.Count(text, "vlmtool train:") != 1 {
				t.Errorf("exit %d, want one line with %q:\n%s", code, c.want, text)
			}
			if !saved() {
				t.Error("the checkpoint is gone")
			}
			done := steps(t, out)
			args = append(args, "--resume", "--steps", fmt.Sprint(done+2))
			if text, code := mpirun(t, 2, args...).ends(t); code != 0 {
				t.Errorf("resuming: exit %d:\n%s", code, text)
			}
		})
	}
}

// TestMPIStops: SIGUSR1, which mpirun passes on, ends the run of all ranks with a checkpoint of the
// last step.
func TestMPIStops(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	j := mpirun(t, 2, rankArgs(t, out, "--steps", "100000", "--save-every", "2")...)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if names, _ := filepath.Glob(filepath.Join(out, "checkpoints", "step-*")); len(names) > 0 {
			break
		}
		if time.Now().After(deadline) {
			_ = j.Process.Kill()
			t.Fatalf("no checkpoint after a minute:\n%s", &j.out)
		}
	}
	require.NoError(t, j.Process.Signal(syscall.SIGUSR1))
	text, code := j.ends(t)
	saved := filepath.Join(out, "checkpoints", fmt.Sprintf("step-%06d", steps(t, out)))
	if _, err := os.Stat(saved); err != nil || code != cli.ExitInterrupted || strings.Count(text, "vlmtool train: interrupted") != 1 {
		t.Errorf("exit %d, %v:\n%s", code, err, text)
	}
}

// steps is the number of the newest step in metrics.jsonl.
func steps(t *testing.T, out string) int { return len(lossesOf(t, out)) }

// TestMPIMistakes: what is wrong on all ranks is one line, written by one of them.
func TestMPIMistakes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	few := []string{"train", "--data", rowsFile(t, 2), "--out", out, "--device", "cpu", "--holdout", "0"}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--batch-size cannot be 0", rankArgs(t, out, "--batch-size", "0")},
		{"--rank-timeout cannot be 1s, want at least 3s", rankArgs(t, out, "--rank-timeout", "1s")},
		{"2 rows to train on for 3 ranks; start at most as many", few},
		{"missing.parquet", []string{"train", "--data", "missing.parquet", "--out", out}},
		{"--seq-len 20 is too short", rankArgs(t, out, "--seq-len", "20")},
	} {
		text, code := mpirun(t, 3, c.args...).ends(t)
		if code == 0 || !strings.Contains(text, c.want) || strings.Count(text, "vlmtool train:") != 1 {
			t.Errorf("exit %d, want one line with %q:\n%s", code, c.want, text)
		}
	}
}

// TestWithoutMPI: a flag that needs several processes says so.
func TestWithoutMPI(t *testing.T) {
	o := vlmtool(rankArgs(t, filepath.Join(t.TempDir(), "run"), "--shard-optimizer")...)
	if o.code != cli.ExitUsage || !strings.Contains(o.stderr, "start vlmtool with mpirun or srun") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
}
