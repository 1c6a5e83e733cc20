package perf

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// A Round is one subject under load once.
type Round struct {
	Requests  int64   `json:"requests"`
	PerSecond float64 `json:"requestsPerSecond"`
	// CPUMicros is the processor time of the subject per request, user and
	// system together, in microseconds.
	CPUMicros float64 `json:"cpuMicrosPerRequest"`
	// P50Micros, P99Micros and P999Micros are latencies as the client saw
	// them: all connections always busy, unless the traffic has a rate.
	P50Micros  float64 `json:"p50Micros"`
	P99Micros  float64 `json:"p99Micros"`
	P999Micros float64 `json:"p999Micros"`
	// Memory is the most that was seen while under load.
	Memory Memory `json:"memory"`
}

// A generator is a program that loads one address and reports what came back.
type generator interface {
	program() string // its name in bench.programs
	// args are the arguments to load addr for d; files may be written to dir.
	args(c *Config, dir, addr string, d time.Duration) ([]string, error)
	// round reads the output, and leaves out what only /proc can tell. A
	// figure from a run with errors would be the figure of something else, so
	// any failed request is an error.
	round(dir string, out []byte) (Round, error)
}

// load drives p with g for d and reads what that cost p.
func (b *bench) load(ctx context.Context, g generator, p *process, d time.Duration) (Round, error) {
	args, err := g.args(&b.config, b.dir, p.addr, d)
	if err != nil {
		return Round{}, err
	}
	argv := b.pin.command(otherCPUs, append([]string{b.programs[g.program()]}, args...))
	before, err := p.usage()
	if err != nil {
		return Round{}, err
	}
	peak := watchMemory(p)
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	memory := peak()
	if err != nil {
		return Round{}, fmt.Errorf("%s: %w\n%s", g.program(), err, out)
	}
	after, err := p.usage()
	if err != nil {
		return Round{}, err
	}
	r, err := g.round(b.dir, out)
	if err != nil {
		return Round{}, fmt.Errorf("%s: %w", g.program(), err)
	}
	r.CPUMicros = float64((after.cpu - before.cpu).Microseconds()) / float64(r.Requests)
	r.Memory = memory
	return r, nil
}

// watchMemory reads the memory of p a few times a second until the returned
// function is called, which gives the highest.
func watchMemory(p *process) (peak func() Memory) {
	stop := make(chan struct{})
	result := make(chan Memory)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		var m Memory
		for {
			select {
			case <-stop:
				result <- m
				return
			case <-tick.C:
				if u, err := p.usage(); err == nil { // if not, load will say so
					m.Private = max(m.Private, u.memory.Private)
					m.RSS = max(m.RSS, u.memory.RSS)
				}
			}
		}
	}()
	return func() Memory {
		close(stop)
		return <-result
	}
}
