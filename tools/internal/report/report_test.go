package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files writes the files of a run.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	aGPU      = `{"device":"vulkan:0","name":"NVIDIA Tested H100","kind":"discrete","driver":"D 1","memory_bytes":80000000000,"features":["cooperativeMatrix"]}` + "\n"
	aTraining = `{"preset":"smollm2-135m","dtype":"bf16","batch_size":8,"seq_len":2048,"ms":100,"tokens_per_s":50000,"gflops":60000,"kernel_ms":97,"idle_fraction":0.03,"kernels":[{"kernel":"matmul","calls":3,"ms":90}]}` + "\n"
	products  = `{"work":"squares","kernel":"matmul","case":"m=1024/k=1024/n=1024/transb=1/batch=1/bf16","dtype":"bf16","gflops":100000,"peer_gflops":400000,"ratio":0.25}
{"work":"squares","kernel":"matmul","case":"m=4096/k=4096/n=4096/transb=1/batch=1/bf16","dtype":"bf16","gflops":400000,"peer_gflops":600000,"ratio":0.66}
{"work":"qwen3-1.7b attention","kernel":"attention","case":"queries=4096/keys=4096/headdim=128/bf16","dtype":"bf16","gflops":200000,"ratio":0.5}
{"work":"qwen3-1.7b attention","kernel":"attention_backward","case":"queries=4096/keys=4096/headdim=128/bf16","dtype":"bf16","gflops":100000,"skipped":"PyTorch: too large"}
{"work":"squares","kernel":"mat`
)

// sample is a run in which parts failed, were stopped and were not reached.
func sample(t *testing.T) *Report {
	t.Helper()
	r, err := Gather(files(t, map[string]string{
		"devices.jsonl": `{"device":"cpu","name":"C","kind":"cpu"}` + "\n" + aGPU, "device.txt": "vulkan:0\n",
		"peer.json": `{"peer":"PyTorch 9","on":"NVIDIA Tested H100"}`,
		"parts.jsonl": `{"part":"devices.jsonl","limit_s":30,"seconds":1,"rc":0}
{"part":"conformance.txt","limit_s":120,"seconds":9,"rc":1}
{"part":"infer-qwen3-1.7b.json","limit_s":60,"seconds":61,"rc":124}
{"part":"products.jsonl","limit_s":120,"seconds":20,"rc":137}
{"part":"kernels-shapes-f32.jsonl","limit_s":50,"seconds":0,"rc":125}
`,
		"conformance.txt": `=== RUN   TestHardware
--- FAIL: TestHardware (1.00s)
    --- FAIL: TestHardware/Kernels (0.10s)
        --- PASS: TestHardware/Kernels/add (0.10s)
            --- PASS: TestHardware/Kernels/add/n=3 (0.00s)
                --- PASS: TestHardware/Kernels/add/n=3/plain (0.00s)
            --- SKIP: TestHardware/Kernels/add/n=9 (0.00s)
        --- FAIL: TestHardware/Kernels/rope (0.10s)
            --- FAIL: TestHardware/Kernels/rope/t=1 (0.00s)
    --- PASS: TestHardware/Programs (0.10s)
        --- PASS: TestHardware/Programs/Ahead (0.10s)
FAIL`,
		"products.jsonl":                   products,
		"train-smollm2-135m-bf16.json":     aTraining,
		"peer-train-smollm2-135m.jsonl":    `{"bench":"train","preset":"smollm2-135m","mode":"bf16","tokens_per_s":40000}` + "\n" + `{"bench":"train","preset":"smollm2-135m","mode":"bf16-compiled","error":"no compiler"}` + "\n",
		"infer-smollm2-135m.json":          `{"preset":"smollm2-135m","tokens_per_s":700,"prefill_ms":9}` + "\n",
		"embedder-smollm2-135m.json":       `{"preset":"smollm2-135m","images_per_s":20000}` + "\n",
		"peer-embedder-smollm2-135m.json":  "",
		"learn-bf16.json":                  `{"steps":40,"loss":1.5}` + "\n",
		"kernels-smollm2-135m-bf16.jsonl":  `{"kernel":"add","case":"n=4","work":"train","us":3,"gb_per_s":5,"roofline":0.5,"bound":"memory"}` + "\n" + `{"kernel":"rope","case":"n=5","wrong":"element 3"}` + "\n",
		"variants-smollm2-135m-bf16.jsonl": `{"kernel":"matmul","case":"n=4","variant":"slow","us":9}` + "\n" + `{"kernel":"matmul","case":"n=4","variant":"quick","us":3}` + "\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGather reads the parts' files, skips truncated lines and evaluates goals.
func TestGather(t *testing.T) {
	r := sample(t)
	if r.Device.Name != "NVIDIA Tested H100" || len(r.PeerCases) != 4 || len(r.Parts) != 5 || r.Parts[1].Why != "FAIL" {
		t.Errorf("%+v", r)
	}
	for _, want := range []Outcome{{"add", 1, 0, 1, nil}, {"rope", 0, 1, 0, []string{"t=1"}}, {"Programs", 1, 0, 0, nil}} {
		got := find(r.Conformance, func(o Outcome) bool { return o.Kernel == want.Kernel })
		if got == nil || got.Passed != want.Passed || got.Failed != want.Failed || got.Skipped != want.Skipped || len(got.Which) != len(want.Which) {
			t.Errorf("%s: %+v, want %+v", want.Kernel, got, want)
		}
	}
	verdicts := map[string]string{}
	for _, g := range r.Goals {
		verdicts[g.What] = g.Missing
		if g.Missing == "" {
			verdicts[g.What] = map[bool]string{true: "met", false: "missed"}[g.Met()]
		}
	}
	for what, want := range map[string]string{
		"matmul of 4096³ in bf16, of cuBLAS":                              "met",
		"attention, head size 128, 4096 tokens in bf16, of SDPA":          "missed",
		"attention_backward, head size 128, 4096 tokens in bf16, of SDPA": "PyTorch: too large",
		"training of smollm2-135m in bf16, tokens/s, of PyTorch eager":    "met",
		"training of qwen3-1.7b in bf16, tokens/s, of PyTorch eager":      notMeasured,
		"embedder of smollm2-135m, images/s, of SigLIP-B/16-512 in bf16":  "the peer was not measured",
		"generation by smollm2-135m, tokens/s":                            "missed",
		"idle between the dispatches of a step, smollm2-135m in bf16":     "met",
	} {
		if verdicts[what] != want {
			t.Errorf("%s: %q, want %q", what, verdicts[what], want)
		}
	}
}

// TestWrite: the page has the failures, and the JSON can be read back.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	r := sample(t)
	r.Date = "2026-01-02"
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# NVIDIA Tested H100", "Peer: PyTorch 9 on NVIDIA Tested H100", "- **conformance.txt** failed: FAIL", "stopped at its limit of 60 s",
		"killed after 20 s", "not started: the run's time was up", "**not met**", "| cooperativeMatrix | yes |", "2 passed, 1 failed",
		"| smollm2-135m | ours | bf16 | 8×2048 | 100 | 50000 | 60.0 | – | 1.25 |", "no compiler", "**element 3**",
		"| matmul | n=4 | quick | 3.00 | – |\n| matmul | n=4 | slow | 9.00 | – |",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is missing from\n%s", want, page)
		}
	}
	back, err := Read(os.DirFS(dir), "report.json")
	if err != nil || back.Device.Name != r.Device.Name || len(back.Goals) != len(r.Goals) {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestWithoutResults: a folder without a run, and a run without results.
func TestWithoutResults(t *testing.T) {
	if _, err := Gather(t.TempDir()); err == nil || !strings.Contains(err.Error(), "devices.jsonl") {
		t.Errorf("%v", err)
	}
	r, err := Gather(files(t, map[string]string{"devices.jsonl": `{"device":"cpu"}`, "peer.json.err": "Traceback\nno torch\n"}))
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	r.Markdown(&page)
	if !strings.Contains(page.String(), "# no Vulkan device") || !strings.Contains(page.String(), "No peer: no torch.") {
		t.Error(page.String())
	}
	if _, err := Read(os.DirFS(files(t, map[string]string{"report.json": `{"format":99}`})), "report.json"); err == nil || !strings.Contains(err.Error(), "format 99") {
		t.Errorf("%v", err)
	}
}

// TestRate: the preset's own step first, then matmuls and attention, then nothing.
func TestRate(t *testing.T) {
	r := sample(t)
	for _, c := range []struct {
		work Work
		want float64 // TFLOP/s
		how  string
	}{
		{Work{"smollm2-135m", "bf16", 10, 1}, 60, "its step of 8×2048"},
		{Work{"qwen3-1.7b", "bf16", 12, 0}, 400, "matmuls"},
		// 5e12/400e12 + 7e12·(2/200e12+5/100e12)/7 s
		{Work{"qwen3-1.7b", "bf16", 12, 7}, 12 / (5.0/400 + 2.0/200 + 5.0/100), "matmuls"},
		{Work{"qwen3-1.7b", "f16", 12, 0}, 0, ""},
	} {
		got, ok := r.Rate(c.work)
		if ok != (c.want > 0) || got.PerSecond < 0.999e12*c.want || got.PerSecond > 1.001e12*c.want || !strings.Contains(got.Source, c.how) {
			t.Errorf("%+v: %+v %v, want %g", c.work, got, ok, c.want)
		}
	}
}

// TestFind: the newest report of a device.
func TestFind(t *testing.T) {
	root := t.TempDir()
	for name, date := range map[string]string{"old": "2026-01-02", "new": "2026-02-01"} {
		r := sample(t)
		r.Date = date
		dir := filepath.Join(root, "reports", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := r.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	r, name, err := Find(os.DirFS(root), "reports", "H100")
	if err != nil || name != "new" || r.Date != "2026-02-01" {
		t.Errorf("%s, %v", name, err)
	}
	if r, _, err := Find(os.DirFS(root), "reports", "H200"); r != nil || err != nil {
		t.Errorf("%v, %v for a device without a report", r, err)
	}
}
