//go:build cgo && (amd64 || arm64)

package vulkan

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestValidation runs every variant once under Khronos's validation layer, where it is
// installed, and fails at its first error.
func TestValidation(t *testing.T) {
	const layer = "VK_LAYER_KHRONOS_validation"
	if os.Getenv("VK_INSTANCE_LAYERS") != "" {
		t.Skip("a layer is already on")
	}
	if len(glob("/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json")) == 0 {
		t.Skip("the validation layer is not installed (on Debian: apt install vulkan-validationlayers)")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.run=^(TestSmallest|TestStaged|TestClose)$")
	cmd.Env = append(os.Environ(), "PATCHWORK_SMALLEST=1", "VK_INSTANCE_LAYERS="+layer,
		"VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if at := strings.Index(string(out), "Validation Error"); at >= 0 {
		t.Errorf("%.2000s", out[at:])
	}
}
