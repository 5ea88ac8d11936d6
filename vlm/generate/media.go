package generate

import (
	"context"
	"fmt"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/packing"
)

// checkClips returns an error if the clips are not those of the prompt.
func (g *Generator) checkClips(prompt chat.Tokens, clips [][]float32) error {
	if len(clips) != len(prompt.Clips) {
		return fmt.Errorf("%d clips of sound given, the prompt has %d", len(clips), len(prompt.Clips))
	}
	for i, clip := range prompt.Clips {
		if n := g.Config.Audio.Tokens(len(clips[i])); n != clip.Tokens {
			return fmt.Errorf("clip %d has %d frames, the prompt has %d for it", i+1, n, clip.Tokens)
		}
	}
	return nil
}

// frames returns the frames of clips.
func (g *Generator) frames(clips [][]float32) (out [][]float32) {
	for _, samples := range clips {
		out = append(out, g.Config.Audio.Frames(samples))
	}
	return out
}

// fresh is what a prefill has to encode, and how many slots of the whole sequence are before it.
type fresh struct {
	pixels      [][]byte
	grids       []chat.Grid // of pixels
	frames      [][]float32
	imageSlots  int // of images that are cached
	frameSlots  int // of clips that are cached
	soundVector int // row of the vectors of the first frame, after those of the images
	rows        int // of the vectors
}

// fresh returns the images and clips of which tokens from start on are part.
func (s sequence) fresh(start int) fresh {
	k := s.imagesBefore(start)
	if k > 0 && s.imageEnd(k-1) > start {
		k-- // the image is only partly in the cache
	}
	f := fresh{pixels: s.pixels[k:], grids: s.grids[k:]}
	for i, g := range s.grids {
		if i < k {
			f.imageSlots += g.Tokens()
		} else {
			f.soundVector += g.Tokens()
		}
	}
	f.rows = f.soundVector
	for i, clip := range s.clips {
		if clip.Start+clip.Tokens <= start {
			f.frameSlots += clip.Tokens
			continue
		}
		f.frames = append(f.frames, s.frames[i])
		f.rows += clip.Tokens
	}
	return f
}

// placeSlots makes the image slots of a row, and its frames' slots, rows of the vectors. Those of
// cached tokens are not read.
func (f fresh) placeSlots(b *packing.Batch) {
	for t := range b.ImageSlots {
		switch {
		case b.ImageSlots[t] >= 0:
			b.ImageSlots[t] -= int32(f.imageSlots)
		case b.FrameSlots[t] >= 0:
			b.ImageSlots[t] = b.FrameSlots[t] - int32(f.frameSlots) + int32(f.soundVector)
		}
	}
}

// encode computes vectors. If their buffer has to grow, the passes, which are bound to it, are
// compiled again.
func (g *Generator) encode(ctx context.Context, f fresh) error {
	if f.rows == 0 {
		return nil
	}
	if err := g.reserveVectors(f.rows); err != nil {
		return err
	}
	if err := g.compileEmbedders(f); err != nil {
		return err
	}
	row := 0
	for i, pixels := range f.pixels {
		if err := g.embedder.Encode(ctx, g.Device, pixels, f.grids[i:i+1], row); err != nil {
			return err
		}
		row += f.grids[i].Tokens()
	}
	for _, frames := range f.frames {
		if err := g.sound.Encode(ctx, g.Device, frames, row); err != nil {
			return err
		}
		row += len(frames) / g.Config.Audio.FrameSize
	}
	return nil
}

// reserveVectors makes room for vectors. Room for sound and images of any length at least doubles.
func (g *Generator) reserveVectors(rows int) error {
	if g.vectors != nil && g.vectors.Capacity >= rows {
		return nil
	}
	if g.vectors != nil && (!g.Config.Audio.None() || g.Config.Vision.KeepsAspect()) {
		rows = max(rows, 2*g.vectors.Capacity)
	}
	vectors := vlm.PlanVectors(g.Model, rows)
	if err := vectors.Allocate(g.Device); err != nil {
		return err
	}
	g.closeEmbedders()
	g.freePasses()
	g.vectors = vectors
	return nil
}

// compileEmbedders compiles the embedders that are used for the first time.
func (g *Generator) compileEmbedders(f fresh) (err error) {
	if g.embedder == nil && len(f.pixels) > 0 {
		if g.embedder, err = vlm.NewImageEmbedder(g.Model, g.Device, 1, g.vectors); err != nil {
			return err
		}
		// The largest pass holds an image.
		g.freePasses()
	}
	if g.sound == nil && len(f.frames) > 0 {
		g.sound, err = vlm.NewSoundEmbedder(g.Model, g.Device, g.vectors)
	}
	return err
}

func (g *Generator) closeEmbedders() {
	g.embedder.Close()
	g.sound.Close()
	g.vectors.Close()
	g.embedder, g.sound, g.vectors = nil, nil, nil
}
