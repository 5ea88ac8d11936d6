package infer

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestEndlessLine reads input without a line end.
func TestEndlessLine(t *testing.T) {
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	var failed error
	for range readLines(zero, &failed) {
		t.Fatal("a line")
	}
	if failed == nil || !strings.Contains(failed.Error(), "more than 16 MiB") {
		t.Errorf("got %v", failed)
	}
}

// TestPrinterSafe: escape sequences in an answer do not reach the terminal.
func TestPrinterSafe(t *testing.T) {
	var out bytes.Buffer
	p := printer{out: &out}
	p.print("x\x1b[2J\u009b1m\x07")
	p.end("")
	if out.Len() == 0 || strings.ContainsAny(out.String(), "\x1b\x07\u009b") {
		t.Errorf("%q", out.String())
	}
}
