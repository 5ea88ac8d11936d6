package main

import (
	"patchwork/engine"
	"patchwork/engine/vulkan"
)

func listVulkan() ([]engine.Info, error)          { return vulkan.List() }
func openVulkan(index int) (engine.Device, error) { return vulkan.Open(index) }
