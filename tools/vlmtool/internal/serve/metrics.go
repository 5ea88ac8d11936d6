//go:build !js

package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patchwork/vlm/serve"
)

// metrics are what Prometheus is told.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	firstToken prometheus.Histogram
	waits      prometheus.Histogram
	rates      prometheus.Histogram
	tokens     *prometheus.CounterVec
}

func newMetrics(scheduler serve.Scheduler) *metrics {
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vlmtool_serve_" + name, Help: help, Buckets: prometheus.ExponentialBucketsRange(0.001, 600, 20)})
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		requests:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vlmtool_serve_requests_total", Help: "Requests by endpoint and status; 499: the client left."}, []string{"endpoint", "status"}),
		firstToken: seconds("time_to_first_token_seconds", "Time from a request's arrival in the queue to the first part of its answer."),
		waits:      seconds("queue_wait_seconds", "Time in the queue of requests that were answered."),
		rates: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vlmtool_serve_tokens_per_second", Help: "Rate at which the tokens of an answer were generated, after the first.", Buckets: prometheus.ExponentialBucketsRange(0.1, 10000, 20),
		}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vlmtool_serve_tokens_total", Help: "Tokens of prompts, of them those that were in the cache, and of answers."}, []string{"kind"}),
	}
	m.registry.MustRegister(m.requests, m.firstToken, m.waits, m.rates, m.tokens, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, value func(serve.Stats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vlmtool_" + name, Help: help}, func() float64 { return value(scheduler.Stats()) }))
	}
	gauge("serve_queued_requests", "Requests that wait.", func(s serve.Stats) float64 { return float64(s.Queued) })
	gauge("serve_running_requests", "Requests that are being answered.", func(s serve.Stats) float64 { return float64(s.Running) })
	gauge("serve_cache_tokens", "Tokens in the key/value cache.", func(s serve.Stats) float64 { return float64(s.CacheTokens) })
	gauge("serve_cache_capacity_tokens", "Tokens for which the key/value cache has room.", func(s serve.Stats) float64 { return float64(s.CacheCapacity) })
	gauge("device_memory_bytes", "Device memory allocated by the engine.", func(s serve.Stats) float64 { return float64(s.MemoryBytes) })
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "vlmtool_serve_restarts_total", Help: "How often the model was loaded again after its device was lost."},
		func() float64 { return float64(scheduler.Stats().Restarts) }))
	return m
}

// handler answers Prometheus.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) request(endpoint string, status int) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(status)).Inc()
}

// answer counts an answer that has ended.
func (m *metrics) answer(u serve.Usage) {
	m.tokens.WithLabelValues("prompt").Add(float64(u.PromptTokens))
	m.tokens.WithLabelValues("prompt_cached").Add(float64(u.CachedTokens))
	m.tokens.WithLabelValues("completion").Add(float64(u.CompletionTokens))
	if m.waits.Observe(u.Queued.Seconds()); u.FirstToken > 0 {
		m.firstToken.Observe(u.FirstToken.Seconds())
	}
	if u.CompletionTokens > 1 && u.Decode > time.Microsecond {
		m.rates.Observe(float64(u.CompletionTokens-1) / u.Decode.Seconds())
	}
}
