package tensorboard

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"patchwork/internal/jsonfloat"
	"patchwork/internal/require"
	pixels "patchwork/vlm/image"
	"patchwork/vlm/train"
)

// writeRun writes the events of a process: its steps first to last, then a validation.
func writeRun(t testing.TB, dir string, first, last int, loss func(step int) float64) {
	t.Helper()
	w, err := Create(dir)
	require.NoError(t, err)
	o := w.Observer(func(err error) { t.Error(err) })
	o.Start(train.Info{Done: first - 1})
	for i := first; i <= last; i++ {
		o.Step(train.StepMetrics{Step: i, Loss: jsonfloat.Float(loss(i)), LR: 0.5, TokensPerS: 1000, Memory: 1 << 20})
	}
	o.Validation(train.ValMetrics{Step: last, ValLoss: 0.25, Samples: []train.Sample{{
		Question: "what?\n<script>alert(1)</script>", Truth: "a *cat*", Answer: "\xff a dog", Images: []*pixels.RGB{{W: 2, H: 2, Pix: make([]byte, 12)}},
	}}})
	require.NoError(t, w.Close())
}

// records reads a file of TFRecords and verifies their checksums.
func records(t *testing.T, path string) (events [][]byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	table := crc32.MakeTable(crc32.Castagnoli)
	good := func(data, sum []byte) bool {
		masked := binary.LittleEndian.Uint32(sum) - 0xa282ead8
		return masked>>17|masked<<15 == crc32.Checksum(data, table)
	}
	for len(data) > 0 {
		n := binary.LittleEndian.Uint64(data)
		event := data[12 : 12+n]
		if !good(data[:8], data[8:12]) || !good(event, data[12+n:16+n]) {
			t.Fatalf("record %d: wrong checksum", len(events))
		}
		events, data = append(events, event), data[16+n:]
	}
	return events
}

// fields are a message's fields by number.
func fields(t *testing.T, message []byte) map[protowire.Number][][]byte {
	t.Helper()
	out := map[protowire.Number][][]byte{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		value := message[n : n+size]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		out[number], message = append(out[number], value), message[n+size:]
	}
	return out
}

// TestEvents reads a file back: its version, its first step, a step's scalars.
func TestEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	writeRun(t, dir, 5, 6, func(int) float64 { return math.NaN() })
	paths, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	require.NoError(t, err)
	if len(paths) != 1 {
		t.Fatalf("%d files", len(paths))
	}
	events := records(t, paths[0])
	if len(events) != 5 {
		t.Fatalf("%d events, want the version, the start, two steps and a validation", len(events))
	}
	if v := fields(t, events[0])[3]; len(v) != 1 || string(v[0]) != "brain.Event:2" {
		t.Errorf("version %q", v)
	}
	start := fields(t, events[1])
	if status := fields(t, start[7][0])[1]; start[2][0][0] != 5 || status[0][0] != 1 {
		t.Errorf("the session starts at step %d with status %d, want 5 and START = 1", start[2][0][0], status[0][0])
	}
	scalars := map[string]float32{}
	for _, v := range fields(t, fields(t, events[2])[5][0])[1] {
		f := fields(t, v)
		scalars[string(f[1][0])] = math.Float32frombits(binary.LittleEndian.Uint32(f[2][0]))
	}
	if len(scalars) != 6 || !math.IsNaN(float64(scalars["train/loss"])) || scalars["train/lr"] != 0.5 || scalars["perf/tokens_per_s"] != 1000 {
		t.Errorf("step 5: %v", scalars)
	}
}

// TestUnstartedRun: a run that could not start leaves no files.
func TestUnstartedRun(t *testing.T) {
	top := t.TempDir()
	w, err := Create(filepath.Join(top, "a", "b"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	left, err := os.ReadDir(top)
	require.NoError(t, err)
	if len(left) > 0 {
		t.Errorf("%v was left over", left)
	}
	file := filepath.Join(top, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	if _, err := Create(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as a folder: %v", err)
	}
}

// TestWriteError: a file that cannot be written is reported once.
func TestWriteError(t *testing.T) {
	w, err := Create(t.TempDir())
	require.NoError(t, err)
	var failures []error
	o := w.Observer(func(err error) { failures = append(failures, err) })
	o.Start(train.Info{})
	require.NoError(t, w.file.Close())
	for i := range 100_000 {
		o.Step(train.StepMetrics{Step: i + 1})
	}
	if len(failures) != 1 || !errors.Is(failures[0], os.ErrClosed) {
		t.Errorf("failures: %v", failures)
	}
}

// TestTensorBoard: TensorBoard reads a run that was interrupted after step 8 and resumed
// after its checkpoint of step 5; no step occurs twice.
func TestTensorBoard(t *testing.T) {
	python := os.Getenv("PATCHWORK_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import tensorboard").Run(); err != nil {
		t.Skipf("%s has no tensorboard (PATCHWORK_PYTHON names another Python): %v", python, err)
	}
	dir := t.TempDir()
	writeRun(t, dir, 1, 8, func(step int) float64 { return float64(step) })
	writeRun(t, dir, 6, 10, func(step int) float64 { return float64(100 * step) })
	out, err := exec.Command(python, "check.py", dir).Output()
	require.NoError(t, err)
	var got struct {
		Scalars map[string][][2]float64
		Images  map[string][][4]any
		Texts   map[string][][2]any
	}
	require.NoError(t, json.Unmarshal(out, &got))
	want := [][2]float64{{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 600}, {7, 700}, {8, 800}, {9, 900}, {10, 1000}}
	if !reflect.DeepEqual(got.Scalars["train/loss"], want) {
		t.Errorf("train/loss is %v, want %v", got.Scalars["train/loss"], want)
	}
	if v := got.Scalars["val/loss"]; len(v) != 1 || v[0] != [2]float64{10, 0.25} {
		t.Errorf("val/loss is %v: the validation of step 8 should be discarded", v)
	}
	if i := got.Images["val/sample 1/picture 1"]; len(i) != 1 || i[0][0] != 10.0 || i[0][1] != 2.0 {
		t.Errorf("images: %v", got.Images)
	}
	text := fmt.Sprint(got.Texts["val/sample 1/answer"])
	for _, part := range []string{"    what?\n    <script>", "    \uFFFD a dog\n", "    a *cat*\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %q", part, text)
		}
	}
}

// BenchmarkStep is the cost of writing a step.
func BenchmarkStep(b *testing.B) {
	w, err := Create(b.TempDir())
	require.NoError(b, err)
	o := w.Observer(func(err error) { b.Error(err) })
	o.Start(train.Info{})
	for i := range b.N {
		o.Step(train.StepMetrics{Step: i + 1, Loss: 1})
	}
	require.NoError(b, w.Close())
}
