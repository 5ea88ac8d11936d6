//go:build linux

package mpi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"patchwork/internal/require"
)

// childVariable tells a process of the test binary that mpirun starts what to do.
const childVariable = "PATCHWORK_MPI_TEST"

func TestMain(m *testing.M) {
	heartbeatInterval = 20 * time.Millisecond
	if what := os.Getenv(childVariable); what != "" {
		if err := child(what); err != nil {
			fmt.Fprintln(os.Stderr, "CHILD:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a rank of a job.
func child(what string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w, err := Join(ctx)
	if err != nil {
		return err
	}
	switch what {
	case "collectives":
		err = childCollectives(ctx, w)
	case "fail":
		err = childFailure(ctx, w, func() {})
	case "kill":
		err = childFailure(ctx, w, func() { syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	case "stop":
		err = childFailure(ctx, w, func() { syscall.Kill(os.Getpid(), syscall.SIGSTOP) })
	case "bench":
		err = childBench(ctx, w)
	case "panic":
		err = childPanic()
	}
	code := 0
	if err != nil {
		code = 1
		if w.Speaks() {
			fmt.Println("CHILD:", err)
		}
	} else {
		fmt.Printf("CHILD: rank %d of %d is done\n", w.Rank(), w.Size())
	}
	w.Close(code)
	return nil
}

func childCollectives(ctx context.Context, w *World) error {
	if w.LocalSize() != w.Size() || w.LocalRank() != w.Rank() || w.Host(w.Size()-1) == "" {
		return fmt.Errorf("rank %d: local rank %d of %d", w.Rank(), w.LocalRank(), w.LocalSize())
	}
	if err := checkCollectives(ctx, w.Channel(0)); err != nil {
		return err
	}
	maxMessage = 100_000
	if err := checkSum(ctx, w.Channel(0), 1<<19); err != nil { // several messages to each rank
		return err
	}
	// The ranks leave another stream at different places, with large and small messages under way.
	giveUp, cancel := context.WithCancel(ctx)
	defer cancel()
	c := w.Channel(1)
	for i := range 3 + w.Rank() {
		if i == 2 {
			time.AfterFunc(10*time.Millisecond, cancel)
		}
		if _, err := c.AllGather(giveUp, make([]byte, 3<<20)); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// childFailure lets rank 1 fail while the others sum.
func childFailure(ctx context.Context, w *World, how func()) error {
	w.SetTimeout(3 * time.Second)
	c := w.Channel(0)
	for i := 0; ; i++ {
		if i == 10 && w.Rank() == 1 {
			how()
			w.Fail(errors.New("the device is lost"))
			return w.Err()
		}
		if err := c.SumFloat32(ctx, make([]float32, 1000)); err != nil {
			return err
		}
		w.Progress()
	}
}

// childPanic checks that Go still turns a fault into a panic after the library was opened.
func childPanic() (err error) {
	defer func() {
		if recover() != nil {
			err = nil
		}
	}()
	var p *int
	*p = 1
	return errors.New("no panic")
}

// childBench prints the time of sums of several sizes, and the processor time of waiting.
func childBench(ctx context.Context, w *World) error {
	c := w.Channel(0)
	for _, n := range []int{1, 1000, 100_000, 1 << 20, 16 << 20} {
		x := make([]float32, n)
		times := max(5, min(1000, 20_000_000/n))
		var start time.Time
		for i := range times + 2 {
			if i == 2 {
				start = time.Now()
			}
			if err := c.SumFloat32(ctx, x); err != nil {
				return err
			}
		}
		if d := time.Since(start) / time.Duration(times); w.Rank() == 0 {
			fmt.Printf("sum of %d floats: %v, %.2f GB/s\n", n, d, float64(4*n)/float64(d))
		}
	}
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	if w.Rank() == 1 {
		time.Sleep(2 * time.Second)
	}
	_, err := c.AllGather(ctx, nil)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	fmt.Printf("rank %d: %v of processor time in 2 s of waiting\n", w.Rank(),
		time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()))
	return err
}

// mpirun runs this test binary as n ranks. It skips the test where there is no mpirun.
func mpirun(t *testing.T, n int, what string) (out string, err error) {
	t.Helper()
	path, err := exec.LookPath("mpirun")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mpirun is missing: apt-get install openmpi-bin")
		}
		t.Skip("needs mpirun (apt-get install openmpi-bin)")
	}
	version, _ := exec.Command(path, "--version").Output()
	args := []string{"-np", fmt.Sprint(n), os.Args[0]}
	if strings.Contains(string(version), "Open MPI") || strings.Contains(string(version), "OpenRTE") {
		args = append([]string{"--allow-run-as-root", "--oversubscribe"}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	data, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%d ranks hang: %s", n, data)
	}
	return string(data), err
}

func TestMPICollectives(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		out, err := mpirun(t, n, "collectives")
		if err != nil || strings.Count(out, "is done") != n {
			t.Fatalf("%d ranks: %v\n%s", n, err, out)
		}
	}
}

func TestMPIFault(t *testing.T) {
	out, err := mpirun(t, 2, "panic")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestMPIFailure: whatever happens to a rank, the job ends, and one line names the rank. When a
// process is killed, that may be mpirun's.
func TestMPIFailure(t *testing.T) {
	host := require.Value(os.Hostname())(t)
	for what, want := range map[string]string{
		"fail": "rank 1 (" + host + "): the device is lost",
		"stop": "rank 1 (" + host + "): has not answered",
		"kill": "rank 1",
	} {
		start := time.Now()
		out, err := mpirun(t, 3, what)
		if err == nil || !strings.Contains(out, want) || what != "kill" && strings.Count(out, "CHILD:") != 1 {
			t.Errorf("%s: %v, want one line with %q\n%s", what, err, want, out)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: the job took %v to end", what, d)
		}
	}
}

// TestNoLibrary: where there is no MPI library, or one of another ABI, a process that was started
// as a part of a job says what to install.
func TestNoLibrary(t *testing.T) {
	t.Setenv("OMPI_COMM_WORLD_SIZE", "2")
	saved := abis
	defer func() { abis = saved }()
	abis = []abi{{name: "Open MPI", files: []string{"libno-such-mpi.so.40"}}}
	if _, err := Join(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no MPI library: install Open MPI") {
		t.Errorf("no library: got %v, want what to install", err)
	}
	abis[0].files = []string{"libc.so.6"}
	if _, err := Join(t.Context()); err == nil || !strings.Contains(err.Error(), "is no library of Open MPI's ABI") {
		t.Errorf("another library: got %v, want that its ABI is another", err)
	}
}
