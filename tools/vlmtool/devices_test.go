package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestDevicesLayout: in a terminal an empty line separates the last device from the reasons
// for missing ones.
func TestDevicesLayout(t *testing.T) {
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
		t.Skip("no reasons: this machine has a GPU and WebGPU")
	}
	if !strings.HasSuffix(terminal.String(), "\n\n"+reasons.String()) {
		t.Errorf("no empty line before\n%s\nin\n%s", &reasons, &terminal)
	}
}
