package eval

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"patchwork/vlm/data"
)

// ErrNotShuffled reports that the shuffled control cannot be applied.
var ErrNotShuffled = errors.New("--control shuffled needs samples with different images or sound, but all are the same; use more rows, or --control blank")

// CheckControls returns an error if a control would have no effect, before anything is scored.
func CheckControls(ctx context.Context, o Options, controls []string) error {
	if !slices.Contains(controls, ControlShuffled) {
		return nil
	}
	set, err := data.Open(ctx, o.Data)
	if err != nil {
		return err
	}
	defer set.Close()
	o.Control = ControlShuffled
	return checkShuffled(set, o)
}

// checkShuffled searches the evaluated rows for two with different images or sound, usually the first two.
func checkShuffled(set *data.Dataset, o Options) error {
	if o.Control != ControlShuffled {
		return nil
	}
	var first *data.Row
	held, seen := data.HoldOut(o.HoldOut), 0
	for i := range set.Len() {
		if o.HoldOut > 0 && !held(i) {
			continue
		}
		row, err := set.Row(i)
		if _, damaged := data.Damaged(err); damaged || err == nil && data.CheckTexts(row).Status == data.Skip {
			continue
		}
		if err != nil {
			return err
		}
		if first == nil {
			first = &row
		}
		if !slices.EqualFunc(row.Images, first.Images, bytes.Equal) || !slices.EqualFunc(row.Clips, first.Clips, bytes.Equal) {
			return nil
		}
		if seen++; o.Limit > 0 && seen >= o.Limit {
			break
		}
	}
	if first == nil {
		return nil // Run reports that no row can be evaluated
	}
	return ErrNotShuffled
}

// HasMedia reports whether any of the evaluated rows has an image or sound.
func (o Options) HasMedia(ctx context.Context) (bool, error) {
	set, err := data.Open(ctx, o.Data)
	if err != nil {
		return false, err
	}
	defer set.Close()
	if found, err := set.HasImages(data.ImageSearchRows); err != nil || found {
		return found, err
	}
	return set.HasSound(data.ImageSearchRows)
}
