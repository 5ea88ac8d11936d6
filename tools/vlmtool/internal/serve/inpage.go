//go:build js

package serve

import (
	"net/http"
	"time"

	"patchwork/vlm"
	"patchwork/vlm/serve"
)

// Handler is the API for a model inside a web page, which has no network to serve.
func Handler(id string, m *vlm.Runner, scheduler serve.Scheduler) http.Handler {
	return newServer(model{ID: id, Config: m.Config, Processor: m.Processor, Created: time.Now()}, scheduler, nil).handler()
}

// metrics are not counted inside a page: nobody collects them.
type metrics struct{}

func newMetrics(serve.Scheduler) *metrics { return &metrics{} }
func (*metrics) handler() http.Handler    { return http.NotFoundHandler() }
func (*metrics) request(string, int)      {}
func (*metrics) answer(serve.Usage)       {}
