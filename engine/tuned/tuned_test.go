package tuned

import (
	"os"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// TestFile: a saved file is read for the same device and driver, without stale entries,
// and a damaged file is named in the error.
func TestFile(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	info := engine.Info{Device: "vulkan:0", Name: "a device", Driver: "1.0"}
	params := shaders.ArgMaxParams{Rows: shaders.N(3), Cols: 100, LD: 100}
	fresh, err := shaders.ArgMax.SourceHash()
	require.NoError(t, err)
	f, err := Load(info)
	require.NoError(t, err)
	if len(f.Entries) != 0 {
		t.Fatalf("a new device has %+v", f.Entries)
	}
	bucket := shaders.ArgMax.Bucket(params, shaders.Storage{})
	f.Add(Entry{Kernel: "argmax", Bucket: bucket, Sources: "of last year", Variant: "lanes"})
	f.Add(Entry{Kernel: "argmax", Bucket: bucket, Sources: fresh, Variant: "lanes", Default: ""})
	f.Add(Entry{Kernel: "sum", Bucket: "sum n=2^4", Sources: "of last year", Variant: "lanes"})
	f.Add(Entry{Kernel: "gone", Bucket: "gone", Sources: "", Variant: "lanes"})
	require.NoError(t, f.Save(info))
	again, err := Load(info)
	require.NoError(t, err)
	if len(again.Entries) != 1 || !again.Has(bucket) || again.Has("sum n=2^4") {
		t.Errorf("read %+v, want only argmax's current entry: the others are stale", again.Entries)
	}
	target := engine.Info{Class: shaders.Discrete, Choices: again.Choices()}
	if v, tuned := target.Choose(shaders.ArgMax, params, shaders.Storage{}); v.Name != "lanes" || !tuned {
		t.Errorf("chose %q, tuned %v", v.Name, tuned)
	}
	for _, other := range []engine.Info{
		{Device: "vulkan:0", Name: "a device", Driver: "1.1"},
		{Device: "vulkan:0", Name: "another", Driver: "1.0"},
		{Device: "webgpu:0", Name: "a device", Driver: "1.0"},
	} {
		if f, err := Load(other); err != nil || len(f.Entries) != 0 {
			t.Errorf("%+v reads %+v (%v)", other, f, err)
		}
	}
	path, err := Path(info)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	if f, err := Load(info); err == nil || !strings.Contains(err.Error(), "--reset") || len(f.Choices()) != 0 {
		t.Errorf("a damaged file: %+v, %v", f, err)
	}
	require.NoError(t, Reset(info))
	require.NoError(t, Reset(info))
	if _, err := Load(info); err != nil {
		t.Error(err)
	}
}
