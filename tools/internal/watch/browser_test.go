package watch

import (
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// problem is what a browser reports: exceptions of scripts, blocked by policy, failed to
// load.
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
