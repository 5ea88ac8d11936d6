package cpu

import "time"

// spinPolicy finds out, run by run of a program, whether spinning helpers pay. With the
// cores to itself a step is a quarter shorter for them; where other processes
// want the cores too it takes twice as long, since a spinning helper uses up its
// turn and is then taken off its core in the middle of a piece.
type spinPolicy struct {
	took [2]time.Duration // recent runs without and with a team
	runs int
}

// retryEvery is how often the way that was slower gets another chance.
const retryEvery = 32

// spinning decides how the next run waits.
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

// record takes note of a run.
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
