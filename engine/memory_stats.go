package engine

import "sync/atomic"

// MemoryStats counts a device's allocated bytes. The zero value is ready.
type MemoryStats struct{ now, peak atomic.Int64 }

// Add counts an allocation, or a free when bytes is negative.
func (m *MemoryStats) Add(bytes int64) {
	now := m.now.Add(bytes)
	for peak := m.peak.Load(); now > peak && !m.peak.CompareAndSwap(peak, now); peak = m.peak.Load() {
	}
}

// MemoryInUse returns the bytes allocated now, and the peak.
func (m *MemoryStats) MemoryInUse() (now, peak int64) { return m.now.Load(), m.peak.Load() }
