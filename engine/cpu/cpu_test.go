package cpu

import (
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device { return Open(0) })
}
