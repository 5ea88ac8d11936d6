package cli

import (
	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
)

// ImageTokensFlag declares --image-tokens.
func ImageTokensFlag(s *pflag.FlagSet, n *int) {
	s.IntVar(n, "image-tokens", 0, "give an image at most `N` tokens, if the model keeps the aspect ratio of images; more show smaller details (default as in training)")
}

// CheckImageTokens checks the value of --image-tokens.
func CheckImageTokens(n int) error {
	if n < 0 || n > vlm.MaxImageTokens {
		return usage.Errorf("--image-tokens cannot be %d, want 1 to %d", n, vlm.MaxImageTokens)
	}
	return nil
}

// SetImageTokens sets the tokens of an image of the model at a path; n = 0 leaves them.
func SetImageTokens(v *vlm.VisionConfig, n int, path string) error {
	if n == 0 {
		return nil
	}
	if err := v.SetImageTokens(n); err != nil {
		return usage.Errorf("--image-tokens: %s: %v", path, err)
	}
	return nil
}
