package main

import (
	"fmt"
	"testing"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/vlm"
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
		{"vulkan", []string{"--data", "a*.parquet", "--out", "my run"}, &vlm.StoppedError{Err: lost, Step: 7, Checkpoint: "x"},
			"; go on with: vlmtool train --data 'a*.parquet' --out 'my run' --resume"},
		{"vulkan", []string{"--data=it's", "--resume"}, &vlm.StoppedError{Err: lost, Step: 7, Checkpoint: "x"},
			`; go on with: vlmtool train '--data=it'\''s' --resume`},
		{"vulkan", []string{"--data", "a.parquet"}, &vlm.StoppedError{Err: lost},
			"; start anew with: vlmtool train --data a.parquet --resume"},
		{"vulkan", nil, lost, "; try again, or take another --device (vlmtool devices lists them)"},
		{"vulkan", nil, engine.ErrUnsupported, "; --device cpu has no such limits"},
		{"cpu", nil, engine.ErrUnsupported, ""},
		{"cpu", nil, &vlm.NotFiniteError{Token: 3}, "; take an earlier checkpoint or another model"},
		{"cpu", []string{"--dtype", "bf16"}, &vlm.NotFiniteError{Token: 3}, "; take an earlier checkpoint or another model"},
		{"cpu", []string{"--dtype", "f16"}, &vlm.NotFiniteError{Token: 3}, "; --dtype f32 holds larger values"},
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
