//go:build js

package serve

import (
	"net/http"

	"patchwork/vlm/serve"
)

// metrics are not counted inside a page: nobody collects them.
type metrics struct{}

func newMetrics(serve.Scheduler) *metrics { return &metrics{} }
func (*metrics) handler() http.Handler    { return http.NotFoundHandler() }
func (*metrics) request(string, int)      {}
func (*metrics) answer(serve.Usage)       {}
