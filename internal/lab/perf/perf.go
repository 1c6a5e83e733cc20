// Package perf measures recloser-proxy beside the proxies that people know:
// nginx, HAProxy, nghttpx, Envoy and Go's own httputil.ReverseProxy.
//
// All subjects are real processes, started by us with nothing shared but the
// machine, and driven against one upstream: with HTTP/1.1 by wrk, with HTTP/2
// and unary gRPC calls by h2load, with a gRPC stream by a client of our own.
// Each such kind of traffic is a table of the report. Machines are noisy, so
// one figure means little: the subjects are measured in rounds, A B C D A B C
// D, a ratio is taken between subjects of the same round, and what is reported
// is the median over the rounds. The processor time of a subject is read from
// /proc, and so is its memory; the package therefore measures on Linux only,
// though it compiles everywhere.
//
// traffic.go has who is measured under what, subject.go and the config files
// how each subject is set up.
//
// Run owns every process that it starts and ends them all before it returns.
// It is not safe to run twice at a time on a machine: not for the processes,
// for the figures.
package perf

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"
)

// Run measures and returns what it found.
func Run(ctx context.Context, c Config) (rep *Report, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("this measures with /proc, which %s does not have", runtime.GOOS)
	}
	b := &bench{config: c, traffics: chosen(c.Protocols), pin: newPinning()}
	if err := b.findPrograms(ctx); err != nil {
		return nil, err
	}
	if b.dir = c.WorkDir; b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "recloser-bench-"); err != nil {
			return nil, err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(b.dir)
			} else {
				err = fmt.Errorf("%w (outputs are in %s)", err, b.dir)
			}
		}()
	}
	return b.run(ctx)
}

// bench is one run. It is used by one goroutine.
type bench struct {
	config   Config
	traffics []*traffic
	dir      string
	pin      pinning
	programs map[string]string // by name as in subject.program: where it is
	missing  map[string]string // likewise: what is to be said of it
	unable   []string          // what is to be said of peers that are here and did not start
}

func (b *bench) run(ctx context.Context) (*Report, error) {
	rep := &Report{
		Time:     time.Now().UTC().Truncate(time.Second),
		Machine:  machine(),
		Rounds:   b.config.Rounds,
		Seconds:  b.config.Duration.Seconds(),
		Pinned:   b.pin.enabled(),
		Versions: b.versions(ctx),
	}
	for _, t := range b.traffics {
		names := b.subjectsOf(t)
		if len(names) == 0 {
			continue
		}
		s, err := b.measure(ctx, t, names)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		rep.Traffic = append(rep.Traffic, s)
	}
	rep.Missing = append(slices.Sorted(maps.Values(b.missing)), b.unable...)
	rep.summarize()
	return rep, nil
}

// measure is one kind of traffic, from its upstream's start to its end.
func (b *bench) measure(ctx context.Context, t *traffic, names []string) (*Section, error) {
	up, err := b.startUpstream(ctx, t)
	if err != nil {
		return nil, err
	}
	defer up.stop()
	if names, err = b.able(ctx, t, up, names); err != nil {
		return nil, err
	}
	s := &Section{Name: t.name, Title: t.title, Unit: t.unit, Load: t.loadOf(&b.config), Paced: t.paced()}
	s.IdleOf, s.Idle = t.idleOf(&b.config)
	for _, name := range names {
		r := &Result{Subject: name, What: named(subjects, name).what}
		s.Results = append(s.Results, r)
		if err := b.measureRest(ctx, t, up, r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	s.Direct, err = b.measureRounds(ctx, t, up, s.Results)
	return s, err
}

// able returns those of names that answer. A peer that does not, because it was
// built without what t needs for instance, is noted and no error.
func (b *bench) able(ctx context.Context, t *traffic, up *upstream, names []string) (able []string, err error) {
	for _, name := range names {
		p, err := b.startSubject(ctx, t, name, up)
		switch {
		case err == nil:
			p.stop()
			able = append(able, name)
		case ctx.Err() != nil || named(subjects, name).program == ours:
			return nil, fmt.Errorf("%s: %w", name, err)
		default:
			b.config.Logger.Warn("not measured", "traffic", t.name, "subject", name, "error", err)
			b.unable = append(b.unable, fmt.Sprintf("%s with %s: %s", name, t.name, first(err.Error())))
		}
	}
	return able, nil
}

// measureRest starts a subject afresh and reads its memory before any request,
// and again with idle connections that have made one request each, or with
// idle streams.
func (b *bench) measureRest(ctx context.Context, t *traffic, up *upstream, r *Result) error {
	if t.idle == idleNothing {
		return nil
	}
	p, err := b.startSubject(ctx, t, r.Subject, up)
	if err != nil {
		return err
	}
	defer p.stop()
	if r.AtRest, err = p.settledMemory(ctx); err != nil {
		return err
	}
	what, n := t.idleOf(&b.config)
	if n == 0 {
		return nil
	}
	open := t.ask()
	if t.idle == idleStreams {
		n /= streamsPerConnection
		open = func(ctx context.Context, addr string) (io.Closer, error) {
			return holdHTTP2(ctx, addr, streamsPerConnection)
		}
	}
	closeAll, err := openIdle(ctx, p.addr, n, open)
	if err != nil {
		return fmt.Errorf("%w%s", err, p.lastOutput())
	}
	defer closeAll()
	r.WithIdle, err = p.settledMemory(ctx)
	b.config.Logger.Info("memory at rest", "traffic", t.name, "subject", r.Subject,
		"private_bytes", r.AtRest.Private, "idle", what, "private_bytes_with_idle", r.WithIdle.Private)
	return err
}

// measureRounds loads all subjects in turn, round by round, and the upstream
// itself once a round to know how far it was from being the limit.
func (b *bench) measureRounds(ctx context.Context, t *traffic, up *upstream, results []*Result) ([]Round, error) {
	procs := make([]*process, len(results))
	for i, r := range results {
		p, err := b.startSubject(ctx, t, r.Subject, up)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Subject, err)
		}
		defer p.stop()
		procs[i] = p
		if _, err := b.load(ctx, t.load, p, time.Second); err != nil { // warm-up
			return nil, fmt.Errorf("%s: %w%s", r.Subject, err, p.lastOutput())
		}
	}
	var direct []Round
	for n := range b.config.Rounds {
		round, err := b.load(ctx, t.alone(), up.process, time.Second)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		direct = append(direct, round)
		for i, r := range results {
			if round, err = b.load(ctx, t.load, procs[i], b.config.Duration); err != nil {
				return nil, fmt.Errorf("%s, round %d: %w%s", r.Subject, n+1, err, procs[i].lastOutput())
			}
			r.Rounds = append(r.Rounds, round)
			b.config.Logger.Info("round", "traffic", t.name, "n", n+1, "of", b.config.Rounds, "subject", r.Subject,
				"cpu_us_per_"+t.unit, round.CPUMicros, t.unit+"s_per_second", round.PerSecond)
		}
	}
	return direct, nil
}
