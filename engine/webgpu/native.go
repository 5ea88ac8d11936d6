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

// What is needed of webgpu.h beyond the Go binding, which hands C pointers into
// Go's memory to keep.
typedef void (*map_callback)(uint32_t status, void *userdata);
typedef void (*error_callback)(uint32_t type, char const *message, void *userdata);
extern void wgpuBufferMapAsync(void *buffer, uint32_t mode, size_t offset, size_t size, map_callback callback, void *userdata);
extern void const *wgpuBufferGetConstMappedRange(void *buffer, size_t offset, size_t size);
extern void wgpuBufferUnmap(void *buffer);
extern bool wgpuDevicePoll(void *device, bool wait, void const *submission);
extern void wgpuDeviceSetUncapturedErrorCallback(void *device, error_callback callback, void *userdata);

// patchwork_wait waits until the device has done all that was submitted. The
// library's own wait gives up after five seconds, does not say so and reuses the
// command buffers that the device still executes: so it is asked, never told to
// wait. The pauses grow with the time waited, to a thirtieth of it or so.
static void patchwork_wait(void *device) {
	struct timespec pause = {0, 10000};
	while (!wgpuDevicePoll(device, false, NULL)) {
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 2000000) pause.tv_nsec += pause.tv_nsec / 32 + 1;
	}
}

static void mapped(uint32_t status, void *userdata) { *(uint32_t *)userdata = status; }

// patchwork_read waits for the device and copies the beginning of a buffer that
// is meant for reading. It returns the status of the mapping, 0 = success.
static uint32_t patchwork_read(void *device, void *buffer, void *to, size_t size) {
	uint32_t status = UINT32_MAX;
	wgpuBufferMapAsync(buffer, 1, 0, size, mapped, &status);
	while (status == UINT32_MAX) patchwork_wait(device);
	if (status != 0) return status;
	void const *from = wgpuBufferGetConstMappedRange(buffer, 0, size);
	if (from == NULL) return UINT32_MAX;
	memcpy(to, from, size);
	wgpuBufferUnmap(buffer);
	return 0;
}

// The last error of a device that no scope caught.
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
	"errors"
	"fmt"
	"unsafe"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
)

// The binding keeps its C handles to itself; these are its structs' layouts.
func deviceRef(d *wgpu.Device) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(d)) }

func bufferRef(b *wgpu.Buffer) unsafe.Pointer {
	return (*struct{ device, buffer unsafe.Pointer })(unsafe.Pointer(b)).buffer
}

// wait waits until the device has done all that was submitted.
func (d *Device) wait() { C.patchwork_wait(deviceRef(d.device)) }

// readMapped waits for the device and copies the beginning of a MapRead buffer.
func (d *Device) readMapped(b *wgpu.Buffer, to []byte) error {
	if len(to) == 0 {
		return nil
	}
	status := C.patchwork_read(deviceRef(d.device), bufferRef(b), unsafe.Pointer(unsafe.SliceData(to)), C.size_t(len(to)))
	return d.mapStatus(uint32(status))
}

// mapStatus is the error of a mapping; only a lost device refuses what is asked.
func (d *Device) mapStatus(status uint32) error {
	if status == 0 {
		return nil
	}
	return d.fail(fmt.Errorf("mapping a buffer for reading failed with status %d: %w", status, engine.ErrDeviceLost))
}

// uncaughtError is where the errors of a device go that no scope catches.
type uncaughtError = C.patchwork_error

// watchErrors keeps errors that no scope catches from ending the process.
func watchErrors(d *wgpu.Device) *uncaughtError { return C.patchwork_watch(deviceRef(d)) }

func freeErrors(e *uncaughtError) { C.free(unsafe.Pointer(e)) }

const (
	errorValidation  = 1
	errorOutOfMemory = 2
	errorDeviceLost  = 5
)

// uncaught returns the error since the last call that no scope has caught. The loss
// of the device is remembered.
func (d *Device) uncaught() error {
	kind := d.errors._type
	if kind == 0 {
		return nil
	}
	d.errors._type = 0
	err := errors.New(clean(C.GoString(&d.errors.text[0])))
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
