package train

import "errors"

// plotLoss is not there in a web page, which draws the losses itself: gonum's fonts are larger than
// the rest of the program.
func plotLoss(string, *metricsLog) error { return errors.ErrUnsupported }
