package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/tools/internal/localhub"
	"patchwork/vlm/data"
)

const hubData = "hf://datasets/" + localhub.Repo

// hubFolder is a folder of data files, train-* in one folder and test-* in another.
func hubFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	set, err := data.Open(t.Context(), data.Local(filepath.Join(quirks, "train-00000-of-00001.parquet")))
	require.NoError(t, err)
	defer set.Close()
	row, err := set.Row(2) // an ordinary row
	require.NoError(t, err)
	for i, name := range []string{"shapes/train-00000-of-00002.parquet", "shapes/train-00001-of-00002.parquet", "test/test-00000-of-00001.parquet"} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		w, err := data.Create(file)
		require.NoError(t, err)
		for k := range 30 {
			answer := []string{"red", "green", "blue"}[(i+k)%3]
			require.NoError(t, w.Write(data.Row{Images: row.Images, Turns: []data.Turn{{User: fmt.Sprintf("what color is shape %d?", k), Assistant: answer}}, Source: "test"}))
		}
		require.NoError(t, w.Close())
	}
	return dir
}

// startHub starts a hub that wants a token, and makes it the one that vlmtool uses.
func startHub(t *testing.T, dir string) *localhub.Hub {
	t.Helper()
	h := localhub.Start(dir, "hf_secret")
	t.Cleanup(h.Close)
	t.Setenv("HF_ENDPOINT", h.Endpoint)
	t.Setenv("HF_TOKEN", "hf_secret")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(t.TempDir(), "cache"))
	return h
}

func trainArgs(data, val, out string, more ...string) []string {
	return append([]string{"train", "--data", data, "--val-data", val, "--out", out, "--device", "cpu", "--seq-len", "160", "--pool-size", "8", "--val-every", "2", "--save-every", "2", "--quiet", "--json"}, more...)
}

// TestTrainFromHub: a run that reads from a hub with faults, is resumed after main has moved,
// ends with the bits of one that reads the same files on disk.
func TestTrainFromHub(t *testing.T) {
	dir := hubFolder(t)
	h := startHub(t, dir)
	h.SetFaults(localhub.Faults{Cut: 0.2, Error: 0.1, Page: 0.1, Shifted: 0.1, Limit: 0.1})
	root := t.TempDir()
	local, remote := filepath.Join(root, "local"), filepath.Join(root, "remote")
	if got := vlmtool(trainArgs(filepath.Join(dir, "shapes"), filepath.Join(dir, "test"), local, "--steps", "6")...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	from := []string{hubData + "/shapes", hubData + "/test/test-*"}
	if got := vlmtool(trainArgs(from[0], from[1], remote, "--steps", "3")...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	require.NoError(t, os.Remove(filepath.Join(remote, "model.safetensors")))
	commit := h.Commit() // main moves on
	if got := vlmtool(trainArgs(from[0], from[1], remote, "--steps", "6", "--resume")...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	weights := func(dir string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		require.NoError(t, err)
		return b
	}
	if !bytes.Equal(weights(local), weights(remote)) {
		t.Error("the weights differ from those of the run on local files")
	}
	text, err := os.ReadFile(filepath.Join(remote, "run.json"))
	require.NoError(t, err)
	first := hubData + "@" + fmt.Sprintf("%040x", 1) + "/shapes/train-00000-of-00002.parquet"
	if !strings.Contains(string(text), first) || strings.Contains(string(text), commit) {
		t.Errorf("run.json does not name %s", first)
	}
	if _, _, leaked := h.Served(); leaked {
		t.Error("the token was sent to the storage")
	}
	if got := vlmtool(trainArgs(hubData+"@"+commit+"/test", from[1], remote, "--steps", "8", "--resume")...); got.code == 0 || !strings.Contains(got.stderr, "data") {
		t.Errorf("other data: %+v", got)
	}
}

// TestHubCommands: inspect and eval read from the hub, and again without a network.
func TestHubCommands(t *testing.T) {
	model, _ := smallRun(t)
	dir := hubFolder(t)
	h := startHub(t, dir)
	commands := [][]string{
		{"inspect", hubData + "/shapes", "--json"},
		{"inspect", hubData + "/test/test-00000-of-00001.parquet", "--rows", "--json"},
		{"eval", "--model", model, "--device", "cpu", "--data", hubData + "/test," + filepath.Join(dir, "shapes", "train-00000-of-00002.parquet"), "--limit", "4", "--json"},
	}
	var online []string
	for _, args := range commands {
		got := vlmtool(append(args, "--quiet")...)
		if got.code != 0 || got.stderr != "" {
			t.Fatalf("%v: %+v", args, got)
		}
		online = append(online, got.stdout)
	}
	var described struct {
		File string
		Rows int
	}
	require.NoError(t, json.Unmarshal([]byte(strings.SplitN(online[0], "\n", 2)[0]), &described))
	if described.Rows != 30 || described.File != hubData+"@"+fmt.Sprintf("%040x", 1)+"/shapes/train-00000-of-00002.parquet" {
		t.Errorf("%+v", described)
	}
	if lines := strings.Count(online[1], `"status":"use"`); lines != 30 {
		t.Errorf("%d rows can be used", lines)
	}
	requests, _, _ := h.Served()
	h.SetDown(true)
	for i, args := range commands {
		if got := vlmtool(append(args, "--quiet")...); got.code != 0 || got.stdout != online[i] {
			t.Errorf("without a network: %v: %+v", args, got)
		}
	}
	h.SetDown(false)
	if again, _, _ := h.Served(); again != requests {
		t.Errorf("%d requests without a network", again-requests)
	}
}

// TestHubMistakes: each gives one line with what is wrong, where and what to do.
func TestHubMistakes(t *testing.T) {
	h := startHub(t, hubFolder(t))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args  []string
		code  int
		wants []string
	}{
		{[]string{"hf://datasets/owner"}, 2, []string{"hf://datasets/OWNER/NAME"}},
		{[]string{hubData + "/[", "--rows"}, 2, []string{"pattern"}},
		{[]string{hubData + "/shapes", "--data-cache", file}, 2, []string{"--data-cache", "is a file"}},
		{[]string{hubData + "/shapes", "--data-cache-size", "much"}, 2, []string{"--data-cache-size", "20GB"}},
		{[]string{hubData + "/shapes", "--data-cache-size", "1MB"}, 2, []string{"--data-cache-size", "1GB"}},
		{[]string{hubData + "/shapes", "--data-timeout", "soon"}, 2, []string{"--data-timeout", "30s"}},
		{[]string{hubData + "/shapes", "--data-timeout", "-1s"}, 2, []string{"--data-timeout"}},
		{[]string{"https://huggingface.co/datasets/o/n", "--rows"}, 2, []string{"hf://datasets/OWNER/NAME"}},
		{[]string{hubData + "/nothing"}, 1, []string{hubData + "@main/nothing", "no such file or folder", "shapes/"}},
		{[]string{hubData}, 1, []string{"no *.parquet", "shapes/, test/"}},
		{[]string{hubData + "@v9/shapes"}, 1, []string{"no such revision", "v9"}},
		{[]string{"hf://datasets/owner/other/shapes"}, 1, []string{"not found"}},
		{[]string{"hf://owner/name/shapes"}, 1, []string{"not found", "hf://datasets/OWNER/NAME"}},
	} {
		vlmtool(append([]string{"inspect"}, c.args...)...).clear(t, c.code, c.wants...)
	}
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_TOKEN_PATH", none)
	vlmtool("inspect", hubData+"/shapes").clear(t, 1, "HF_TOKEN", "/datasets/owner/name")
	h.Close()
	got := vlmtool("inspect", hubData+"/shapes", "--data-cache", none, "--quiet")
	got.clear(t, 1, "cannot be reached", "HF_ENDPOINT")
}
