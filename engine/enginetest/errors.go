package enginetest

import (
	"errors"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/shaders"
)

// testErrors tests misuse that a backend must report as an error.
func testErrors(t *testing.T, dev engine.Device) {
	t.Run("OutOfMemory", func(t *testing.T) { testOutOfMemory(t, dev) })
	t.Run("BindingLimit", func(t *testing.T) { testBindingLimit(t, dev) })
	t.Run("Unplaced", func(t *testing.T) { testUnplaced(t, dev) })
	t.Run("Freed", func(t *testing.T) { testFreed(t, dev) })
	t.Run("Range", func(t *testing.T) { testRange(t, dev) })
	t.Run("SmallArena", func(t *testing.T) { testSmallArena(t, dev) })
}

func testOutOfMemory(t *testing.T, dev engine.Device) {
	const asked = int64(1) << 50
	m, err := dev.Allocate(asked, "a petabyte")
	if err == nil {
		m.Free()
		t.Fatal("a petabyte was allocated")
	}
	checkOutOfMemory(t, err, "a petabyte", asked)

	p := engine.NewProgram("huge")
	half, other := p.Temp("half", asked/2), p.Temp("other", asked/2)
	p.Dispatch(shaders.Copy, shaders.CopyParams{N: 1}, half.View().Slice(256, 4), other.View().Slice(0, 4))
	p.Keep(other)
	plan, err := engine.NewPlan(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Compile(plan, nil); err == nil {
		t.Error("temporaries of a petabyte were allocated")
	} else {
		checkOutOfMemory(t, err, "activations", asked)
	}
}

func checkOutOfMemory(t *testing.T, err error, what string, asked int64) {
	t.Helper()
	var oom *engine.OutOfMemoryError
	if !errors.As(err, &oom) || !errors.Is(err, engine.ErrOutOfMemory) {
		t.Fatalf("got %v, want an out-of-memory error", err)
	}
	if oom.What != what || oom.Asked != asked || oom.Available <= 0 {
		t.Errorf("got %+v, want %d bytes requested for %s and the number available", *oom, asked, what)
	}
}

func testBindingLimit(t *testing.T, dev engine.Device) {
	limit := dev.Info().Limits.MaxBindingBytes
	if limit == 0 {
		t.Skip(dev.Info().Device, " has no such limit")
	}
	if most := dev.Info().Limits.MaxBufferBytes; most > 0 && most < limit+engine.Alignment {
		t.Skip(dev.Info().Device, " has no larger buffer")
	}
	p := engine.NewProgram("wide")
	wide := p.Temp("the wide buffer", limit+engine.Alignment)
	y := p.Temp("y", 8)
	p.Keep(y)
	p.Dispatch(shaders.ClipFactor, shaders.ClipFactorParams{}, wide.View(), y.View())
	_, err := compile(dev, p, nil)
	if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "the wide buffer") {
		t.Errorf("got %v, want an ErrUnsupported that names the buffer", err)
	}
}

// copied records one copy of a float.
func copied(x, y *engine.Buffer) *engine.Program {
	p := engine.NewProgram("copy")
	p.Dispatch(shaders.Copy, shaders.CopyParams{N: 1}, x.View(), y.View())
	return p
}

func testUnplaced(t *testing.T, dev engine.Device) {
	_, err := compile(dev, copied(engine.NewBuffer("nowhere", 4), engine.NewBuffer("y", 4)), nil)
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v, want an error that names the buffer", err)
	}
}

// testFreed uses memory and a program after they were freed.
func testFreed(t *testing.T, dev engine.Device) {
	x, y := engine.NewBuffer("x", 4), engine.NewBuffer("y", 4)
	memories, err := engine.Allocate(dev, "a test", x, y)
	if err != nil {
		t.Fatal(err)
	}
	e := mustCompile(t, dev, copied(x, y), nil)
	mustRun(t, e, &noStep)
	for _, m := range memories {
		m.Free()
		m.Free()
	}
	if err := engine.Download(dev, x.View(), make([]float32, 1)); err == nil {
		t.Error("freed memory was read")
	}
	if err := e.Run(t.Context(), &noStep); err == nil {
		t.Error("a program over freed memory ran")
	}
	e.Free()
	e.Free()
	if err := e.Run(t.Context(), &noStep); err == nil {
		t.Error("a freed program ran")
	}
}

func testRange(t *testing.T, dev engine.Device) {
	m, err := dev.Allocate(1024, "a test")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	for _, r := range []struct{ offset, bytes int64 }{{-4, 8}, {0, 1028}, {1020, 8}, {1 << 62, 4}} {
		if err := dev.Write(m, r.offset, make([]byte, r.bytes)); err == nil {
			t.Errorf("wrote %d bytes at %d of 1024", r.bytes, r.offset)
		}
		if err := dev.Read(m, r.offset, make([]byte, r.bytes)); err == nil {
			t.Errorf("read %d bytes at %d of 1024", r.bytes, r.offset)
		}
	}
	if err := dev.Write(m, 1024, nil); err != nil {
		t.Errorf("a write at the end failed: %v", err)
	}
	if err := dev.Write(nil, 0, []byte{1}); err == nil {
		t.Error("wrote to nil memory")
	}
}

func testSmallArena(t *testing.T, dev engine.Device) {
	arena, err := dev.Allocate(256, "a small arena")
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Free()
	p := engine.NewProgram("roomy")
	c := p.Temp("c", 4)
	p.Keep(c)
	add(p, 1, p.Temp("a", 4).View(), p.Temp("b", 4).View(), c.View())
	for _, arena := range [][]engine.Memory{{arena}, {}} {
		if _, err := compile(dev, p, arena); err == nil {
			t.Errorf("an arena of %d memories that is too small was accepted", len(arena))
		}
	}
}
