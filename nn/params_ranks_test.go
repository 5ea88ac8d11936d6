package nn

import (
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
)

// TestChunks: chunks cover every parameter once, mix neither groups nor decayed parameters with
// others, and their segments begin where kernels can bind them.
func TestChunks(t *testing.T) {
	s := layeredParams()
	for _, bytes := range []int64{1, 1000, 5000, 1 << 30} {
		for _, ranks := range []int{1, 2, 3, 64} {
			var end int64
			for _, c := range s.Chunks(bytes, ranks) {
				if c.Offset != end || len(c.Bounds) != ranks+1 || c.Bounds[0] != 0 || c.Bounds[ranks] != c.Bytes {
					t.Fatalf("chunks of %d for %d ranks: %+v after %d", bytes, ranks, c, end)
				}
				end = c.Offset + c.Bytes
				for rank := range ranks {
					r := c.Segment(rank)
					if r.Bytes < 0 || r.Offset%paramAlignment != 0 || r.Group != c.Group || r.Decay != c.Decay {
						t.Fatalf("chunks of %d for %d ranks: segment %d is %+v", bytes, ranks, rank, r)
					}
				}
			}
			if end != s.Weights.Bytes {
				t.Errorf("chunks of %d for %d ranks end at %d of %d", bytes, ranks, end, s.Weights.Bytes)
			}
		}
	}
	s.Freeze("decoder")
	if n := len(s.Chunks(5000, 2)); n == 0 {
		t.Error("chunks depend on what is frozen")
	}
}

// TestShardMoments: the ranks' moments are a part each, together all, also where a device allows
// small buffers only.
func TestShardMoments(t *testing.T) {
	const ranks = 3
	for _, limit := range []int64{0, 3 * 4096} {
		var total int64
		seen := map[int64]bool{}
		for rank := range ranks {
			s := layeredParams()
			require.NoError(t, s.Shard(infoWithLimit(limit)))
			s.ShardMoments(s.Chunks(5000, ranks), rank)
			require.NoError(t, s.Shard(infoWithLimit(limit)))
			for _, part := range s.M.Parts() {
				if limit > 0 && part.Bytes > limit {
					t.Errorf("rank %d has an allocation of %d, the limit is %d", rank, part.Bytes, limit)
				}
			}
			require.NoError(t, s.EachOwned(s.M, func(offset int64, v engine.View) error {
				if v.Bytes > 0 && seen[offset] {
					t.Errorf("offset %d belongs to two ranks", offset)
				}
				seen[offset] = true
				if !s.M.Contiguous(v.Offset, v.Bytes) {
					t.Errorf("rank %d: moments at %d cross a split", rank, offset)
				}
				return nil
			}))
			total += s.M.Bytes
		}
		if want := layeredParams().MomentBytes(); total != want {
			t.Errorf("limit %d: all moments have %d bytes, want %d", limit, total, want)
		}
	}
}

// TestFillMoments: with sharded moments, Fill writes to the snapshot.
func TestFillMoments(t *testing.T) {
	s := layeredParams()
	s.ShardMoments(s.Chunks(5000, 2), 1)
	var all Snapshot
	defer all.Free()
	require.NoError(t, all.Reserve(s.M, s.MomentBytes()))
	s.FillMoments(&all)
	p := s.ByName("k2")
	require.NoError(t, s.Fill(cpu.Open(1), s.M, p, p.Shape[0], func(from int, dst []float32) error {
		for i := range dst {
			dst[i] = float32(from + i)
		}
		return nil
	}))
	for i, v := range all.Values(s.M, p) {
		if v != float32(i) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}
