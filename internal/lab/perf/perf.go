// Package perf measures recloser-proxy beside the proxies that people know:
// nginx, HAProxy and Go's own httputil.ReverseProxy.
//
// All subjects are real processes, started by us with nothing shared but the
// machine, and driven by wrk against one upstream. Machines are noisy, so one
// figure means little: the subjects are measured in rounds, A B C D A B C D,
// a ratio is taken between subjects of the same round, and what is reported is
// the median over the rounds. The processor time of a subject is read from
// /proc, and so is its memory; the package therefore measures on Linux only,
// though it compiles everywhere.
//
// Run owns every process that it starts and ends them all before it returns.
// It is not safe to run twice at a time on a machine: not for the processes,
// for the figures.
package perf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Config says what to measure. The zero value of a field means its default,
// as given; Validate looks at the result.
type Config struct {
	// Rounds is how often each subject is measured, 1 to 1000. Default 7.
	Rounds int
	// Duration is how long each subject is loaded in a round, in whole seconds
	// (wrk takes no others), 1s to 1h. Default 4s.
	Duration time.Duration
	// Connections is how many connections wrk keeps busy, 1 to 4000.
	// Default 64.
	Connections int
	// IdleConnections is how many connections are held idle while memory is
	// measured, 0 to 4000. Default 1000; negative is none.
	IdleConnections int
	// Subjects are the names of those to measure, of Names. Default all.
	Subjects []string
	// Proxy is the recloser-proxy binary; ReverseProxy the small program of
	// internal/lab/perf/reverseproxy. Defaults: of these names beside the
	// running program.
	Proxy, ReverseProxy string
	// WorkDir holds the subjects' configurations and outputs. Default: a
	// temporary folder, removed at the end unless something failed.
	WorkDir string
	// Logger tells of progress. Default: discarded.
	Logger *slog.Logger
}

// maxConnections keeps each subject, which has one descriptor for the client
// and one for the upstream, within the 16384 connections we configure.
const maxConnections = 4000

func (c Config) withDefaults() Config {
	if c.Rounds == 0 {
		c.Rounds = 7
	}
	if c.Duration == 0 {
		c.Duration = 4 * time.Second
	}
	if c.Connections == 0 {
		c.Connections = 64
	}
	switch {
	case c.IdleConnections == 0:
		c.IdleConnections = 1000
	case c.IdleConnections < 0:
		c.IdleConnections = 0
	}
	if len(c.Subjects) == 0 {
		c.Subjects = Names()
	}
	if self, err := os.Executable(); err == nil {
		if c.Proxy == "" {
			c.Proxy = filepath.Join(filepath.Dir(self), "recloser-proxy")
		}
		if c.ReverseProxy == "" {
			c.ReverseProxy = filepath.Join(filepath.Dir(self), "reverseproxy")
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns every mistake in c, defaults applied.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	between := func(field string, v, low, high any, ok bool) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %v: allowed is %v to %v", field, v, low, high))
		}
	}
	between("rounds", c.Rounds, 1, 1000, c.Rounds >= 1 && c.Rounds <= 1000)
	between("duration", c.Duration, time.Second, time.Hour, c.Duration >= time.Second && c.Duration <= time.Hour)
	if c.Duration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("duration %v: allowed are whole seconds", c.Duration))
	}
	between("connections", c.Connections, 1, maxConnections, c.Connections >= 1 && c.Connections <= maxConnections)
	between("idle connections", c.IdleConnections, 0, maxConnections, c.IdleConnections <= maxConnections)
	for _, name := range c.Subjects {
		if !slices.Contains(Names(), name) {
			errs = append(errs, fmt.Errorf("subject %q: allowed are %s", name, strings.Join(Names(), ", ")))
		}
	}
	return errors.Join(errs...)
}

// ErrMissing is wrapped by Run when a program that it needs is not installed.
var ErrMissing = errors.New("not installed")

// Run measures and returns what it found.
func Run(ctx context.Context, c Config) (rep *Report, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("this measures with /proc, which %s does not have", runtime.GOOS)
	}
	b := &bench{config: c, pin: newPinning()}
	if err := b.findPrograms(); err != nil {
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
	dir      string
	pin      pinning
	programs map[string]string // by name as in Subject.command[0]: where it is
}

// findPrograms looks for all that the run needs, so that it fails at once and
// not after minutes.
func (b *bench) findPrograms() error {
	b.programs = map[string]string{}
	var errs []error
	need := func(name, where string) {
		if _, ok := b.programs[name]; ok {
			return
		}
		path, err := exec.LookPath(where)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, ErrMissing))
		}
		b.programs[name] = path
	}
	need("wrk", "wrk")
	need("nginx", "nginx") // it is the upstream too
	for _, name := range b.config.Subjects {
		switch program := subjectNamed(name).program; program {
		case "recloser-proxy":
			need(program, b.config.Proxy)
		case "reverseproxy":
			need(program, b.config.ReverseProxy)
		default:
			need(program, program)
		}
	}
	return errors.Join(errs...)
}

func (b *bench) run(ctx context.Context) (*Report, error) {
	up, err := b.startUpstream(ctx)
	if err != nil {
		return nil, err
	}
	defer up.stop()
	results := make([]*Result, len(b.config.Subjects))
	for i, name := range b.config.Subjects {
		results[i] = &Result{Subject: name, What: subjectNamed(name).what}
		if err := b.measureRest(ctx, up, results[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	direct, err := b.measureRounds(ctx, up, results)
	if err != nil {
		return nil, err
	}
	rep := &Report{
		Time:        time.Now().UTC().Truncate(time.Second),
		Machine:     machine(),
		Rounds:      b.config.Rounds,
		Seconds:     b.config.Duration.Seconds(),
		Connections: b.config.Connections,
		Idle:        b.config.IdleConnections,
		Pinned:      b.pin.enabled(),
		Versions:    b.versions(ctx),
		Direct:      direct,
		Results:     results,
	}
	rep.summarize()
	return rep, nil
}

// measureRest starts a subject afresh and reads its memory before any request,
// and again with idle connections that have made one request each.
func (b *bench) measureRest(ctx context.Context, up *upstream, r *Result) error {
	p, err := b.startSubject(ctx, r.Subject, up)
	if err != nil {
		return err
	}
	defer p.stop()
	if r.AtRest, err = p.settledMemory(ctx); err != nil {
		return err
	}
	if b.config.IdleConnections == 0 {
		return nil
	}
	closeAll, err := openIdle(ctx, p.addr, b.config.IdleConnections)
	if err != nil {
		return err
	}
	defer closeAll()
	r.WithIdle, err = p.settledMemory(ctx)
	b.config.Logger.Info("memory at rest", "subject", r.Subject,
		"private_bytes", r.AtRest.Private, "with_idle_connections", r.WithIdle.Private)
	return err
}

// measureRounds loads all subjects in turn, round by round, and the upstream
// itself once a round to know how far it was from being the limit.
func (b *bench) measureRounds(ctx context.Context, up *upstream, results []*Result) ([]Round, error) {
	procs := make([]*process, len(results))
	for i, r := range results {
		p, err := b.startSubject(ctx, r.Subject, up)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Subject, err)
		}
		defer p.stop()
		procs[i] = p
		if _, err := b.load(ctx, p, time.Second); err != nil { // warm-up
			return nil, fmt.Errorf("%s: %w", r.Subject, err)
		}
	}
	var direct []Round
	for n := range b.config.Rounds {
		round, err := b.load(ctx, up.process, time.Second)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		direct = append(direct, round)
		for i, r := range results {
			if round, err = b.load(ctx, procs[i], b.config.Duration); err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", r.Subject, n+1, err)
			}
			r.Rounds = append(r.Rounds, round)
			b.config.Logger.Info("round", "n", n+1, "of", b.config.Rounds, "subject", r.Subject,
				"cpu_us_per_request", round.CPUMicros, "requests_per_second", round.PerSecond)
		}
	}
	return direct, nil
}
