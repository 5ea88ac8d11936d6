package watch

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"strconv"
)

func newStepDurations() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "vlmtool_train_step_duration_seconds", Help: "Duration of the optimizer steps of this process.",
		Buckets: prometheus.ExponentialBucketsRange(0.001, 100, 16),
	})
}

// registry collects a run's metrics when it is scraped.
func (r *Run) registry() *prometheus.Registry {
	all := prometheus.NewRegistry()
	all.MustRegister(collector{r}, r.durations, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return all
}

// metric is a Prometheus metric of the run.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s State) *float64 // nil = unknown
}

func figure(kind prometheus.ValueType, name, help string, value func(s State) *float64) metric {
	return metric{prometheus.NewDesc("vlmtool_"+name, help, nil, nil), kind, value}
}

func always[T int | int64 | float64](value func(s State) T) func(State) *float64 {
	return func(s State) *float64 {
		v := float64(value(s))
		return &v
	}
}

var metrics = []metric{
	figure(prometheus.CounterValue, "train_steps_total", "Optimizer steps since the start of the run.", always(func(s State) int { return s.Step })),
	figure(prometheus.GaugeValue, "train_planned_steps", "Optimizer steps that the run will take.", always(func(s State) int { return s.Steps })),
	figure(prometheus.CounterValue, "train_skipped_steps_total", "Steps skipped because gradients were not finite.", always(func(s State) int { return s.Skipped })),
	figure(prometheus.CounterValue, "train_tokens_total", "Tokens trained on since the start of the run, without padding.", always(func(s State) int64 { return s.Tokens })),
	figure(prometheus.GaugeValue, "train_loss_nats", "Running mean of the training loss, in nats per target token.", func(s State) *float64 { return s.Loss }),
	figure(prometheus.GaugeValue, "validation_loss_nats", "Loss of the held-out rows at the last validation, in nats per target token.", func(s State) *float64 { return s.ValLoss }),
	figure(prometheus.GaugeValue, "train_learning_rate", "Learning rate of the decoder in the last step.", always(func(s State) float64 { return s.LR })),
	figure(prometheus.GaugeValue, "train_gradient_norm", "Norm of all gradients of the last step, before clipping.", func(s State) *float64 { return s.GradNorm }),
	figure(prometheus.GaugeValue, "train_tokens_per_second", "Tokens trained on per second of the last steps.", always(func(s State) float64 { return s.TokensPerS })),
	figure(prometheus.GaugeValue, "train_images_per_second", "Images trained on per second of the last steps.", always(func(s State) float64 { return s.ImagesPerS })),
	figure(prometheus.GaugeValue, "train_peak_ratio", "Fraction of the device's peak arithmetic that training reaches.", func(s State) *float64 { return s.Peak }),
	figure(prometheus.GaugeValue, "train_remaining_seconds", "Estimated time until the end of the run.", func(s State) *float64 { return s.SecondsLeft }),
	figure(prometheus.GaugeValue, "train_remaining_dollars", "Estimated cost until the end of the run.", func(s State) *float64 { return s.DollarsLeft }),
	figure(prometheus.GaugeValue, "device_memory_bytes", "Device memory allocated by the engine.", always(func(s State) int64 { return s.Memory })),
	figure(prometheus.GaugeValue, "device_memory_peak_bytes", "Peak of the device memory allocated by the engine.", always(func(s State) int64 { return s.MemoryPeak })),
}

var (
	badRowsDesc = prometheus.NewDesc("vlmtool_data_bad_rows_total", "Rows of the data that were skipped, by reason.", []string{"reason"}, nil)
	rankDesc    = prometheus.NewDesc("vlmtool_train_rank_tokens_per_second", "Tokens per second of each of several ranks in its own passes, without the waits for other ranks.", []string{"rank"}, nil)
	infoDesc    = prometheus.NewDesc("vlmtool_train_info", "The run, its preset, device and version.", []string{"run", "preset", "device", "device_name", "version"}, nil)
)

// collector reads the run's state when it is scraped, at no cost to the steps.
type collector struct{ run *Run }

// Describe sends the metrics' descriptions.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
	out <- badRowsDesc
	out <- rankDesc
	out <- infoDesc
}

// Collect sends the current values.
func (c collector) Collect(out chan<- prometheus.Metric) {
	now := c.run.runJSON()
	for _, m := range metrics {
		if v := m.value(now.State); v != nil {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, *v)
		}
	}
	for _, reason := range now.Reasons {
		out <- prometheus.MustNewConstMetric(badRowsDesc, prometheus.CounterValue, float64(reason.Count), reason.Reason)
	}
	for rank, rate := range now.State.RankTokensPerS {
		out <- prometheus.MustNewConstMetric(rankDesc, prometheus.GaugeValue, rate, strconv.Itoa(rank))
	}
	out <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, now.Name, now.Preset, now.Device, now.DeviceName, now.Version)
}
