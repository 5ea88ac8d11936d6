package watch

import (
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// problem is a report of the browser: an exception in a script, or a file that was blocked by
// policy or failed to load.
func problem(event any) []string {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		return []string{"exception: " + e.ExceptionDetails.Text}
	case *log.EventEntryAdded:
		return []string{string(e.Entry.Source) + ": " + e.Entry.Text}
	case *network.EventLoadingFailed:
		return []string{"loading failed: " + e.ErrorText}
	}
	return nil
}
