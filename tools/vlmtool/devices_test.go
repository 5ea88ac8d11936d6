package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"patchwork/engine"
)

// TestDevicesReadable checks the list as a terminal shows it, both outputs in one:
// the reasons at its end stand apart from the last device.
func TestDevicesReadable(t *testing.T) {
	var terminal, reasons bytes.Buffer
	if code := run(context.Background(), []string{"devices"}, &terminal, &terminal); code != 0 {
		t.Fatalf("exit %d:\n%s", code, &terminal)
	}
	if code := run(context.Background(), []string{"devices", "--json"}, &bytes.Buffer{}, &reasons); code != 0 {
		t.Fatalf("exit %d:\n%s", code, &reasons)
	}
	if strings.HasPrefix(reasons.String(), "\n") {
		t.Errorf("with --json the reasons begin with an empty line:\n%s", &reasons)
	}
	if reasons.Len() == 0 {
		t.Skip("there is nothing to say: a GPU and WebGPU are here")
	}
	if !strings.HasSuffix(terminal.String(), "\n\n"+reasons.String()) {
		t.Errorf("no empty line before\n%s\nin\n%s", &reasons, &terminal)
	}
}

// TestPrintDevice checks what is printed of devices that few machines have.
func TestPrintDevice(t *testing.T) {
	for _, c := range []struct {
		info       engine.Info
		want, none string
	}{
		{engine.Info{Device: "webgpu:0", Features: []string{"timestamp-query"}}, "has      time stamps\n", "timestamp-query"},
		{engine.Info{Device: "cpu", Features: []string{"avx2", "fma"}}, "has      avx2, fma\n", "avx2 fma"},
		{engine.Info{Device: "vulkan:0", Kind: engine.Null, Limits: engine.Limits{MaxBindingBytes: 1 << 30}}, "nothing can run on it\n", "a binding"},
		{engine.Info{Device: "vulkan:0", Kind: "discrete"}, "memory   not told\n", "nothing"},
	} {
		var out bytes.Buffer
		printDevice(&app{stdout: &out}, c.info)
		if s := out.String(); !strings.Contains(s, c.want) || strings.Contains(s, c.none) {
			t.Errorf("%s: want %q and not %q in\n%s", c.info.Device, c.want, c.none, s)
		}
	}
}
