package errtext

import (
	"fmt"
	"testing"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/vlm/generate"
	"patchwork/vlm/train"
)

// TestAdvice checks the advice after an error.
func TestAdvice(t *testing.T) {
	lost := fmt.Errorf("vulkan:0: vkQueueSubmit: %w", engine.ErrDeviceLost)
	for _, c := range []struct {
		device string
		args   []string
		err    error
		want   string
	}{
		{"vulkan", []string{"--data", "a*.parquet", "--out", "my run"}, &train.StoppedError{Err: lost, Step: 7, Checkpoint: "x"},
			"; resume with: vlmtool train --data 'a*.parquet' --out 'my run' --resume"},
		{"vulkan", []string{"--data=it's", "--resume"}, &train.StoppedError{Err: lost, Step: 7, Checkpoint: "x"},
			`; resume with: vlmtool train '--data=it'\''s' --resume`},
		{"vulkan", []string{"--data", "a.parquet"}, &train.StoppedError{Err: lost},
			"; start again with: vlmtool train --data a.parquet --resume"},
		{"vulkan", nil, lost, "; try again, or use another --device (vlmtool devices lists them)"},
		{"vulkan", nil, engine.ErrUnsupported, "; --device cpu has no such limits"},
		{"cpu", nil, engine.ErrUnsupported, ""},
		{"cpu", nil, &generate.NotFiniteError{Token: 3}, "; use an earlier checkpoint or another model"},
		{"cpu", []string{"--dtype", "bf16"}, &generate.NotFiniteError{Token: 3}, "; use an earlier checkpoint or another model"},
		{"cpu", []string{"--dtype", "f16"}, &generate.NotFiniteError{Token: 3}, "; --dtype f32 has a larger range"},
		{"cpu", nil, engine.ErrNoDevice, ""},
	} {
		i := Invocation{Command: "train", Args: append([]string{"train"}, c.args...), Device: c.device, Flags: pflag.NewFlagSet("", pflag.ContinueOnError)}
		i.Flags.Bool("resume", false, "")
		i.Flags.String("data", "", "")
		i.Flags.String("out", "", "")
		i.Flags.String("dtype", "f32", "")
		if err := i.Flags.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if got := i.Advice(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}
