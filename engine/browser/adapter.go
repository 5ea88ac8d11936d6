//go:build js

package browser

import (
	"fmt"
	"strings"
	"syscall/js"

	"patchwork/engine"
	"patchwork/shaders"
)

// webgpu is the page's entry to WebGPU.
func webgpu() (js.Value, error) {
	entry := js.Global().Get("navigator").Get("gpu")
	if entry.IsUndefined() {
		return entry, fmt.Errorf("this browser has no WebGPU, or the page is neither from https nor from this machine: %w", engine.ErrNoDevice)
	}
	return entry, nil
}

// requestAdapter returns the adapter that the browser prefers for heavy work.
func requestAdapter() (js.Value, error) {
	entry, err := webgpu()
	if err != nil {
		return entry, err
	}
	options := map[string]any{"powerPreference": "high-performance"}
	adapter, err := Await(entry.Call("requestAdapter", options))
	if err != nil {
		return adapter, fmt.Errorf("WebGPU: %w: %w", err, engine.ErrNoDevice)
	}
	if adapter.IsNull() {
		return adapter, fmt.Errorf("WebGPU finds no GPU on this machine that the browser supports: %w", engine.ErrNoDevice)
	}
	return adapter, nil
}

// wanted are the limits in which a device should get all that the adapter has.
var wanted = []string{
	"maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage", "maxComputeWorkgroupStorageSize",
	"maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX", "maxComputeWorkgroupSizeY", "maxComputeWorkgroupSizeZ",
	"maxComputeWorkgroupsPerDimension", "minStorageBufferOffsetAlignment", "minUniformBufferOffsetAlignment",
}

// requestDevice returns a device with the adapter's limits.
func requestDevice(adapter js.Value, features []string) (js.Value, error) {
	limits, required := map[string]any{}, []any{}
	for _, name := range wanted {
		limits[name] = adapter.Get("limits").Get(name)
	}
	for _, f := range features {
		required = append(required, f)
	}
	return Await(adapter.Call("requestDevice", map[string]any{"requiredLimits": limits, "requiredFeatures": required}))
}

// timestamps is the feature that Profile needs.
const timestamps = "timestamp-query"

// describe describes an adapter.
func describe(adapter js.Value) engine.Info {
	limit := func(name string) int64 { return int64(adapter.Get("limits").Get(name).Float()) }
	about := func(name string) string {
		if v := adapter.Get("info").Get(name); v.Type() == js.TypeString {
			return v.String()
		}
		return ""
	}
	kind, class := classify(about("vendor"), about("architecture"))
	info := engine.Info{
		Device: "webgpu", Kind: kind, Class: class, API: "WebGPU", Driver: browser(), Features: []string{},
		Name: strings.TrimSpace(about("vendor") + " " + about("architecture")),
		Limits: engine.Limits{
			MaxBindingBytes:    limit("maxStorageBufferBindingSize"),
			MaxBufferBytes:     limit("maxBufferSize"),
			MaxAllocationBytes: limit("maxBufferSize"),
			MaxWorkgroupMemory: limit("maxComputeWorkgroupStorageSize"),
			MaxInvocations:     int(limit("maxComputeInvocationsPerWorkgroup")),
		},
	}
	if text := about("description"); text != "" {
		info.Name = text
	}
	// WebGPU does not report the size of memory. Some browsers tell that of the machine.
	if ram := js.Global().Get("navigator").Get("deviceMemory"); ram.Type() == js.TypeNumber && class != shaders.Discrete {
		info.Memory = int64(ram.Float() * (1 << 30))
	}
	if adapter.Get("features").Call("has", timestamps).Bool() {
		info.Features = append(info.Features, timestamps)
	}
	return info
}

// classify derives the class of a GPU from its vendor: a page is not told more. Radeon and
// Intel GPUs may be of either class; those that are integrated are the more common.
func classify(vendor, architecture string) (kind string, class shaders.Class) {
	switch {
	case architecture == "swiftshader" || strings.Contains(vendor, "mesa"):
		return "software", shaders.Software
	case vendor == "nvidia":
		return "discrete", shaders.Discrete
	}
	return "integrated", shaders.Integrated
}

// browser is the name of the browser with its version, where it tells them.
func browser() string {
	brands := js.Global().Get("navigator").Get("userAgentData")
	if brands.IsUndefined() {
		return js.Global().Get("navigator").Get("userAgent").String()
	}
	list := brands.Get("brands")
	for i := range list.Length() {
		if name := list.Index(i).Get("brand").String(); !strings.Contains(name, "Brand") {
			return name + " " + list.Index(i).Get("version").String()
		}
	}
	return "a browser"
}
