//go:build cgo && (amd64 || arm64)

package vulkan

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"patchwork/engine"
)

func TestNoHardware(t *testing.T) {
	denied := func(string, uint32) error { return unix.EACCES }
	granted := func(string, uint32) error { return nil }
	for _, c := range []struct {
		dri, nvidia []string
		access      func(string, uint32) error
		want        string
	}{
		{nil, nil, granted, "there is no GPU"},
		{[]string{"/dev/dri/renderD128"}, nil, denied, "no permission to use /dev/dri/renderD128"},
		{nil, []string{"/dev/nvidiactl"}, denied, "no permission to use /dev/nvidiactl"},
		{nil, []string{"/dev/nvidiactl"}, granted, "an NVIDIA GPU (/dev/nvidiactl), but no Vulkan driver"},
		{[]string{"/dev/dri/renderD128"}, nil, granted, "a GPU (/dev/dri/renderD128), but no Vulkan driver"},
	} {
		err := noHardware(c.dri, c.nvidia, c.access)
		if !errors.Is(err, engine.ErrNoDevice) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: got %q, want %q", c.dri, c.nvidia, err, c.want)
		}
	}
}
