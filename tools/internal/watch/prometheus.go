package watch

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

func newStepDurations() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "vlmtool_train_step_duration_seconds", Help: "Time that the optimizer steps of this process took.",
		Buckets: prometheus.ExponentialBucketsRange(0.001, 100, 16),
	})
}

// registry collects a run's figures when it is asked for them.
func (r *Run) registry() *prometheus.Registry {
	all := prometheus.NewRegistry()
	all.MustRegister(collector{r}, r.durations, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return all
}

// metric is one of the run's figures for Prometheus.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s State) *float64 // nil: not known
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
	figure(prometheus.CounterValue, "train_skipped_steps_total", "Steps left out because gradients were not finite.", always(func(s State) int { return s.Skipped })),
	figure(prometheus.CounterValue, "train_tokens_total", "Tokens trained on since the start of the run, padding left out.", always(func(s State) int64 { return s.Tokens })),
	figure(prometheus.GaugeValue, "train_loss_nats", "Running mean of the training loss, in nats per target token.", func(s State) *float64 { return s.Loss }),
	figure(prometheus.GaugeValue, "validation_loss_nats", "Loss of the held-out rows at the last validation, in nats per target token.", func(s State) *float64 { return s.ValLoss }),
	figure(prometheus.GaugeValue, "train_learning_rate", "Learning rate of the decoder in the last step.", always(func(s State) float64 { return s.LR })),
	figure(prometheus.GaugeValue, "train_gradient_norm", "Norm of all gradients of the last step, before clipping.", func(s State) *float64 { return s.GradNorm }),
	figure(prometheus.GaugeValue, "train_tokens_per_second", "Tokens trained on per second of the last steps.", always(func(s State) float64 { return s.TokensPerS })),
	figure(prometheus.GaugeValue, "train_images_per_second", "Pictures trained on per second of the last steps.", always(func(s State) float64 { return s.ImagesPerS })),
	figure(prometheus.GaugeValue, "train_peak_ratio", "Part of the device's peak arithmetic that training reaches.", func(s State) *float64 { return s.Peak }),
	figure(prometheus.GaugeValue, "train_remaining_seconds", "Estimated time until the end of the run.", func(s State) *float64 { return s.SecondsLeft }),
	figure(prometheus.GaugeValue, "train_remaining_dollars", "Estimated cost until the end of the run.", func(s State) *float64 { return s.DollarsLeft }),
	figure(prometheus.GaugeValue, "device_memory_bytes", "Memory of the device that the engine holds.", always(func(s State) int64 { return s.Memory })),
	figure(prometheus.GaugeValue, "device_memory_peak_bytes", "Most memory of the device that the engine ever held.", always(func(s State) int64 { return s.MemoryPeak })),
}

var (
	badRowsDesc = prometheus.NewDesc("vlmtool_data_bad_rows_total", "Rows of the data that were skipped, by reason.", []string{"reason"}, nil)
	infoDesc    = prometheus.NewDesc("vlmtool_train_info", "What is trained, with what and on what.", []string{"run", "preset", "device", "device_name", "version"}, nil)
)

// collector reads a run when it is scraped: steps pay nothing for it.
type collector struct{ run *Run }

// Describe names the metrics.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
	out <- badRowsDesc
	out <- infoDesc
}

// Collect sends the figures of now.
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
	out <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, now.Name, now.Preset, now.Device, now.DeviceName, now.Version)
}
