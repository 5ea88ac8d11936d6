package cpu

import "time"

// spinPolicy measures, run by run of a program, whether spinning workers are faster. On
// idle cores a step takes a quarter less time with them; where other processes want the
// cores too it takes twice as long, since a spinning worker uses up its time slice and is
// then preempted in the middle of a chunk.
type spinPolicy struct {
	took [2]time.Duration // recent runs without and with a worker pool
	runs int
}

// retryEvery is the number of runs after which the slower alternative is tried again.
const retryEvery = 32

// spinning reports whether the next run uses spinning workers.
func (p *spinPolicy) spinning() bool {
	better := p.took[1] <= p.took[0]
	switch {
	case p.runs < 2: // one of each to begin with
		return p.runs == 0
	case p.runs%retryEvery == 0:
		return !better
	}
	return better
}

// record adds the duration of a run.
func (p *spinPolicy) record(spinning bool, took time.Duration) {
	i := 0
	if spinning {
		i = 1
	}
	if p.runs++; p.took[i] == 0 {
		p.took[i] = took
	}
	p.took[i] = (p.took[i] + took) / 2
}
