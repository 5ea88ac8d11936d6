package eval

import (
	"bytes"
	"errors"
	"slices"

	"patchwork/vlm/data"
)

var ErrNotShuffled = errors.New("--control shuffled needs samples with different pictures, and there are none: every sample would see its own; take more rows, or --control blank")

// CheckControls refuses controls that could show nothing, before anything is scored.
func CheckControls(o Options, controls []string) error {
	if !slices.Contains(controls, ControlShuffled) {
		return nil
	}
	set, err := data.Open(o.Data)
	if err != nil {
		return err
	}
	o.Control = ControlShuffled
	return checkShuffled(set, o)
}

// checkShuffled looks for two samples with different pictures among those that are
// evaluated. Usually these are the first two.
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
		if !slices.EqualFunc(row.Images, first.Images, bytes.Equal) {
			return nil
		}
		if seen++; o.Limit > 0 && seen >= o.Limit {
			break
		}
	}
	if first == nil {
		return nil // which is said where they are evaluated
	}
	return ErrNotShuffled
}

// Pictured tells whether any of the rows to be evaluated has a picture.
func (o Options) Pictured() (bool, error) {
	set, err := data.Open(o.Data)
	if err != nil {
		return false, err
	}
	return set.HasImages(data.ImageSearchRows)
}
