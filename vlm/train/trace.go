package train

import (
	"encoding/json"

	"patchwork/internal/durable"
)

// WriteTrace writes timed dispatches as a Chrome trace on a single track, which Perfetto reads
// too.
func WriteTrace(path string, traced []TracedDispatch) error {
	type event struct {
		Name     string         `json:"name"`
		Category string         `json:"cat"`
		Phase    string         `json:"ph"`
		Start    float64        `json:"ts"`
		Duration float64        `json:"dur"`
		Process  int            `json:"pid"`
		Thread   int            `json:"tid"`
		Args     map[string]any `json:"args"`
	}
	events := make([]event, len(traced))
	for i, t := range traced {
		events[i] = event{
			Name: t.Kernel.Name, Category: t.Label, Phase: "X", Process: 1, Thread: 1,
			Start: float64(t.Start.Nanoseconds()) / 1e3, Duration: float64(t.Duration.Nanoseconds()) / 1e3,
			Args: map[string]any{"part": t.Label, "params": t.Params, "flops": t.Work.Flops, "bytes": t.Work.Bytes},
		}
	}
	data, err := json.Marshal(map[string]any{"displayTimeUnit": "ms", "traceEvents": events})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}
