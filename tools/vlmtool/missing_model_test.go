package main

import (
	"os"
	"testing"

	"patchwork/engine/webgpu"
	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
)

// TestMissingModel: the error about a folder that has the form of a hub's name explains
// how to fetch it.
func TestMissingModel(t *testing.T) {
	model, file := smallRun(t)
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("there/empty", 0o755))
	const name = "HuggingFaceTB/SmolLM2-135M"
	fetch := "no folder " + name + "; if it is a repository of the hub, vlmtool fetch " + name + " --out SmolLM2-135M downloads it"
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"infer", "--model", name, "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, fetch},
		{[]string{"infer", "--model", name + "@main", "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, "vlmtool fetch " + name + "@main --out SmolLM2-135M downloads it"},
		{[]string{"train", "--decoder", name, "--data", file, "--out", "run", "--device", "cpu"}, cli.ExitFailed, fetch},
		{[]string{"train", "--model", name, "--data", file, "--out", "run", "--device", "cpu"}, cli.ExitFailed, fetch},
		{[]string{"eval", "--model", name, "--data", file, "--device", "cpu"}, cli.ExitFailed, fetch},
		{[]string{"export", "--model", name, "--out", "new"}, cli.ExitFailed, fetch},
		{[]string{"inspect", name}, cli.ExitUsage, fetch},
		{[]string{"bench", "infer", "--model", name, "--device", "cpu"}, cli.ExitFailed, fetch},
		{[]string{"infer", "--model", "./here", "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, "./here: no such file or folder"},
		{[]string{"infer", "--model", "a/b/c", "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, "a/b/c: no such file or folder"},
		{[]string{"infer", "--model", "there/model.gguf", "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, "no such file or folder"},
		{[]string{"infer", "--model", "there/empty", "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, "there/empty: no model"},
		{[]string{"infer", "--model", model, "--image", "a/b", "--prompt", "a", "--device", "cpu"}, cli.ExitFailed, "a/b: no such file or folder"},
	} {
		vlmtool(c.args...).clear(t, c.code, c.want)
	}
}

// TestNoWebGPU: the error of a build without WebGPU explains how to build it.
func TestNoWebGPU(t *testing.T) {
	if webgpu.Built {
		t.Skip("this build has it")
	}
	vlmtool("bench", "embedder", "--device", "webgpu").clear(t, cli.ExitFailed, "make build", "nowebgpu", "--device cpu")
}
