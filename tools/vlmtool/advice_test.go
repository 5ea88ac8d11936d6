package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/engine/webgpu"
	"patchwork/vlm/generate"
	"patchwork/vlm/train"
)

// TestAdvice checks what a user is told to do after an error.
func TestAdvice(t *testing.T) {
	lost := fmt.Errorf("vulkan:0: vkQueueSubmit: %w", engine.ErrDeviceLost)
	for _, c := range []struct {
		device string
		args   []string
		err    error
		want   string
	}{
		{"vulkan", []string{"--data", "a*.parquet", "--out", "my run"}, &train.StoppedError{Err: lost, Step: 7, Checkpoint: "x"},
			"; go on with: vlmtool train --data 'a*.parquet' --out 'my run' --resume"},
		{"vulkan", []string{"--data=it's", "--resume"}, &train.StoppedError{Err: lost, Step: 7, Checkpoint: "x"},
			`; go on with: vlmtool train '--data=it'\''s' --resume`},
		{"vulkan", []string{"--data", "a.parquet"}, &train.StoppedError{Err: lost},
			"; start anew with: vlmtool train --data a.parquet --resume"},
		{"vulkan", nil, lost, "; try again, or take another --device (vlmtool devices lists them)"},
		{"vulkan", nil, engine.ErrUnsupported, "; --device cpu has no such limits"},
		{"cpu", nil, engine.ErrUnsupported, ""},
		{"cpu", nil, &generate.NotFiniteError{Token: 3}, "; take an earlier checkpoint or another model"},
		{"cpu", []string{"--dtype", "bf16"}, &generate.NotFiniteError{Token: 3}, "; take an earlier checkpoint or another model"},
		{"cpu", []string{"--dtype", "f16"}, &generate.NotFiniteError{Token: 3}, "; --dtype f32 holds larger values"},
		{"cpu", nil, engine.ErrNoDevice, ""},
	} {
		a := &app{name: "train", args: c.args, device: c.device, flags: pflag.NewFlagSet("", pflag.ContinueOnError)}
		a.flags.Bool("resume", false, "")
		a.flags.String("data", "", "")
		a.flags.String("out", "", "")
		a.flags.String("dtype", "f32", "")
		if err := a.flags.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if got := a.advice(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

// TestMissingModel: a name of the hub's in a model's place is told how to be fetched.
func TestMissingModel(t *testing.T) {
	model, file := smallRun(t)
	t.Chdir(t.TempDir())
	must(t, os.MkdirAll("there/empty", 0o755))
	const name = "HuggingFaceTB/SmolLM2-135M"
	brings := "there is no folder " + name + "; vlmtool fetch " + name + " --out SmolLM2-135M brings it"
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"infer", "--model", name, "--prompt", "a", "--device", "cpu"}, exitFailed, brings},
		{[]string{"infer", "--model", name + "@main", "--prompt", "a", "--device", "cpu"}, exitFailed, "vlmtool fetch " + name + "@main --out SmolLM2-135M brings it"},
		{[]string{"train", "--decoder", name, "--data", file, "--out", "run", "--device", "cpu"}, exitFailed, brings},
		{[]string{"train", "--model", name, "--data", file, "--out", "run", "--device", "cpu"}, exitFailed, brings},
		{[]string{"eval", "--model", name, "--data", file, "--device", "cpu"}, exitFailed, brings},
		{[]string{"export", "--model", name, "--out", "new"}, exitFailed, brings},
		{[]string{"inspect", name}, exitUsage, brings},
		{[]string{"bench", "infer", "--model", name, "--device", "cpu"}, exitFailed, brings},
		{[]string{"infer", "--model", "./here", "--prompt", "a", "--device", "cpu"}, exitFailed, "./here: there is no such file or folder"},
		{[]string{"infer", "--model", "a/b/c", "--prompt", "a", "--device", "cpu"}, exitFailed, "a/b/c: there is no such file or folder"},
		{[]string{"infer", "--model", "there/model.gguf", "--prompt", "a", "--device", "cpu"}, exitFailed, "there is no such file or folder"},
		{[]string{"infer", "--model", "there/empty", "--prompt", "a", "--device", "cpu"}, exitFailed, "there/empty holds no model"},
		{[]string{"infer", "--model", model, "--image", "a/b", "--prompt", "a", "--device", "cpu"}, exitFailed, "a/b: there is no such file or folder"},
	} {
		vlmtool(c.args...).clear(t, c.code, c.says)
	}
}

// TestNoWebGPU: a build without it says how to get one.
func TestNoWebGPU(t *testing.T) {
	if webgpu.Built {
		t.Skip("this build has it")
	}
	vlmtool("bench", "embedder", "--device", "webgpu").clear(t, exitFailed, "make build", "nowebgpu", "--device cpu")
}
