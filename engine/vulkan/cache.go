//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/internal/smallfile"
)

// cache keeps compiled shaders from one process to the next, in a file of the user's
// cache directory for each device and driver. It is best effort: without it, or when it
// is damaged, the shaders are compiled again.
type cache struct {
	handle  vk.PipelineCache
	file    string // "" without a cache directory
	changed bool
}

func (c *cache) open(d *Device) error {
	c.file = cacheFile(d.physical)
	return c.create(d, readCache(c.file))
}

// create makes a cache with what an earlier one contained, nil for an empty one.
func (c *cache) create(d *Device, saved []byte) error {
	info := vk.PipelineCacheCreateInfo{SType: vk.StructureTypePipelineCacheCreateInfo}
	defer info.Free()
	if len(saved) > 0 {
		info.InitialDataSize, info.PInitialData = uint(len(saved)), unsafe.Pointer(unsafe.SliceData(saved))
	}
	var handle vk.PipelineCache
	err := check("vkCreatePipelineCache", vk.CreatePipelineCache(d.handle, &info, nil, &handle))
	c.handle = handle
	return err
}

func (c *cache) close(d *Device) {
	if c.changed && c.file != "" {
		writeCache(c.file, c.data(d))
	}
	vk.DestroyPipelineCache(d.handle, c.handle, nil)
}

func (c *cache) data(d *Device) []byte {
	var n uint
	if vk.GetPipelineCacheData(d.handle, c.handle, &n, nil) != vk.Success || n == 0 {
		return nil
	}
	data := make([]byte, n)
	if vk.GetPipelineCacheData(d.handle, c.handle, &n, unsafe.Pointer(unsafe.SliceData(data))) != vk.Success {
		return nil
	}
	return data[:n]
}

func cacheFile(p *physical) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	driver := sha256.Sum256([]byte(p.info.Name + p.info.Driver))
	name := "vulkan-" + hex.EncodeToString(p.uuid[:]) + "-" + hex.EncodeToString(driver[:8])
	return filepath.Join(dir, "patchwork", name)
}

// readCache returns what writeCache saved, or nil: the file starts with the SHA-256 of
// the rest, since a driver may not validate it.
func readCache(file string) []byte {
	data, err := smallfile.Read(file, 1<<30)
	if err != nil || len(data) < sha256.Size {
		return nil
	}
	sum := sha256.Sum256(data[sha256.Size:])
	if !bytes.Equal(sum[:], data[:sha256.Size]) {
		return nil
	}
	return data[sha256.Size:]
}

// writeCache replaces the file atomically, so that another process never reads a part.
func writeCache(file string, data []byte) {
	if len(data) == 0 || os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(file), "new")
	if err != nil {
		return
	}
	sum := sha256.Sum256(data)
	_, err = f.Write(append(sum[:], data...))
	if closing := f.Close(); err != nil || closing != nil || os.Rename(f.Name(), file) != nil {
		os.Remove(f.Name())
	}
}
