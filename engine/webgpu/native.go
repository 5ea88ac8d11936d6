//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

/*
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// What is needed of webgpu.h beyond the Go binding, which lets C keep pointers to Go
// memory.
typedef void (*map_callback)(uint32_t status, void *userdata);
typedef void (*error_callback)(uint32_t type, char const *message, void *userdata);
extern void wgpuBufferMapAsync(void *buffer, uint32_t mode, size_t offset, size_t size, map_callback callback, void *userdata);
extern void const *wgpuBufferGetConstMappedRange(void *buffer, size_t offset, size_t size);
extern void wgpuBufferUnmap(void *buffer);
extern bool wgpuDevicePoll(void *device, bool wait, void const *submission);
extern void wgpuDeviceSetUncapturedErrorCallback(void *device, error_callback callback, void *userdata);

// patchwork_idle polls for up to 20 ms whether all submitted work is done. The library's
// own wait gives up after five seconds without an error and reuses command buffers that
// the device still executes, so it is polled instead. The pauses, which continue in the
// next call, grow to about a thirtieth of the time waited.
static bool patchwork_idle(void *device, int64_t *pause) {
	for (int64_t waited = 0; waited < 20000000; waited += *pause) {
		if (wgpuDevicePoll(device, false, NULL)) {
			*pause = 10000;
			return true;
		}
		struct timespec t = {0, *pause};
		nanosleep(&t, NULL);
		if (*pause < 2000000) *pause += *pause / 32 + 1;
	}
	return false;
}

static void mapped(uint32_t status, void *userdata) { *(uint32_t *)userdata = status; }

// patchwork_map starts mapping a buffer for reading. The status, in C memory, becomes 0
// for success or the library's error while the device is polled.
static uint32_t *patchwork_map(void *buffer, size_t size) {
	uint32_t *status = malloc(sizeof *status);
	*status = UINT32_MAX;
	wgpuBufferMapAsync(buffer, 1, 0, size, mapped, status);
	return status;
}

// patchwork_copy copies the start of a mapped buffer and unmaps it.
static uint32_t patchwork_copy(void *buffer, void *to, size_t size) {
	void const *from = wgpuBufferGetConstMappedRange(buffer, 0, size);
	if (from == NULL) return UINT32_MAX;
	memcpy(to, from, size);
	wgpuBufferUnmap(buffer);
	return 0;
}

// The last uncaptured error of a device.
typedef struct {
	uint32_t type;
	char text[1024];
} patchwork_error;

static void uncaught(uint32_t type, char const *message, void *userdata) {
	patchwork_error *error = userdata;
	error->type = type;
	snprintf(error->text, sizeof error->text, "%s", message == NULL ? "" : message);
}

static patchwork_error *patchwork_watch(void *device) {
	patchwork_error *error = calloc(1, sizeof *error);
	wgpuDeviceSetUncapturedErrorCallback(device, uncaught, error);
	return error;
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

// The binding does not export its C handles; these are its structs' layouts.
func deviceRef(d *wgpu.Device) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(d)) }

func bufferRef(b *wgpu.Buffer) unsafe.Pointer {
	return (*struct{ device, buffer unsafe.Pointer })(unsafe.Pointer(b)).buffer
}

// polled is the queue of a device, which is polled.
type polled struct {
	device unsafe.Pointer
	pause  C.int64_t // nanoseconds, the next pause
}

func newPolled(d *wgpu.Device) *polled { return &polled{deviceRef(d), 10000} }

func (p *polled) idle() bool { return bool(C.patchwork_idle(p.device, &p.pause)) }

// readMapped waits for the device and copies the start of a MapRead buffer.
func (d *Device) readMapped(b *wgpu.Buffer, to []byte) error {
	if len(to) == 0 {
		return nil
	}
	status := C.patchwork_map(bufferRef(b), C.size_t(len(to)))
	err := d.until(context.Background(), func() bool { return *status != math.MaxUint32 })
	if err != nil {
		return err // the library may still write status
	}
	got := uint32(*status)
	if C.free(unsafe.Pointer(status)); got == 0 {
		got = uint32(C.patchwork_copy(bufferRef(b), unsafe.Pointer(unsafe.SliceData(to)), C.size_t(len(to))))
	}
	return d.mapStatus(got)
}

// mapStatus is the error of a mapping, which fails only for a lost device.
func (d *Device) mapStatus(status uint32) error {
	if status == 0 {
		return nil
	}
	return d.fail(fmt.Errorf("mapping a buffer for reading failed with status %d: %w", status, engine.ErrDeviceLost))
}

// uncaughtError holds the uncaptured errors of a device.
type uncaughtError = C.patchwork_error

// watchErrors installs a callback for uncaptured errors, which would otherwise end the
// process.
func watchErrors(d *wgpu.Device) *uncaughtError { return C.patchwork_watch(deviceRef(d)) }

func freeErrors(e *uncaughtError) { C.free(unsafe.Pointer(e)) }

const (
	errorValidation  = 1
	errorOutOfMemory = 2
	errorDeviceLost  = 5
)

// uncaught returns the uncaptured error since the last call. It records the loss of the
// device.
func (d *Device) uncaught() error {
	kind := d.errors._type
	if kind == 0 {
		return nil
	}
	d.errors._type = 0
	err := errors.New(gpu.OneLine(C.GoString(&d.errors.text[0])))
	switch kind {
	case errorValidation:
		return d.invalid(err)
	case errorOutOfMemory:
		return fmt.Errorf("%w: %w", err, &engine.OutOfMemoryError{Device: d.info.Device})
	case errorDeviceLost:
		return d.fail(fmt.Errorf("%w: %w", err, engine.ErrDeviceLost))
	}
	return err
}
