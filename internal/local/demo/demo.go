// Package demo shows a breaker at work: Linkerd's circuit-breaking tutorial,
// its manifest word for word, on a mesh that runs on this machine, with the
// figures beside the tutorial's own.
//
// A demo only watches and turns knobs: it sees the mesh through the same API as
// the commands for people, makes the annotation as a user would, and heals or
// breaks the sample programs in place. It measures; it knows no result
// beforehand.
package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// Manifest is the tutorial's, word for word.
//
//go:embed circuit-breaking.yaml
var Manifest []byte

// Namespace is the one that Manifest makes.
const Namespace = "circuit-breaking-demo"

// Mesh is what the demo sees of the mesh: the API of its control plane.
type Mesh interface {
	Stat(ctx context.Context, r stat.Request) (*stat.Table, error)
	Annotate(ctx context.Context, a observe.Annotation) (*observe.Annotated, error)
	Events(ctx context.Context, f breakers.Filter, follow bool, put func(breakers.Line) error) error
}

// Config of a demo.
type Config struct {
	Mesh Mesh
	// Fail makes a share of a deployment's answers failures, in percent, while
	// it runs.
	Fail func(ctx context.Context, deployment string, percent int64) error
	// Outbound is where calls of a deployment enter its sidecar, HOST:PORT.
	Outbound func(deployment string) (string, error)
	// Pace sets the time that each part takes.
	Pace Pace
	// Show presents what happens.
	Show *Show
}

// Pace is how long things are looked at.
type Pace struct {
	// Before is the window for the figures without a breaker.
	Before time.Duration `json:"before_ns"`
	// Quiet is the window for the figures with the breaker: it begins behind a
	// failed probe whose back-off is longer than it. A minute, the
	// tutorial's own window, has about one probe in it.
	Quiet time.Duration `json:"quiet_ns"`
	// Annotations are set beside the one that switches the breaker on.
	Annotations map[string]string `json:"annotations"`
}

// Normal takes about a minute and leaves all of Linkerd's defaults as they are.
func Normal() Pace { return Pace{Before: 10 * time.Second, Quiet: 12 * time.Second} }

// Fast is for tests: shorter looks, and shorter back-offs.
func Fast() Pace {
	return Pace{
		Before: 4 * time.Second,
		Quiet:  2 * time.Second,
		Annotations: map[string]string{
			"balancer.linkerd.io/failure-accrual-consecutive-min-penalty": "500ms",
			"balancer.linkerd.io/failure-accrual-consecutive-max-penalty": "8s",
		},
	}
}

const (
	caller = "slow-cooker"
	good   = "good"
	bad    = "bad"
	accrue = "balancer.linkerd.io/failure-accrual"

	// patience bounds each wait for something that must come. The longest is
	// for the probe after a back-off of 24 s.
	patience = 60 * time.Second
)

// demo is one run.
type demo struct {
	Config
	result Result

	next int // index of the first event that await has not looked at

	// Guarded by mu.
	mu     sync.Mutex
	events []breakers.Event
	more   chan struct{} // closed when events grew, then replaced
}

// Run runs the demo on a mesh that has been started with Manifest. The result
// is there as far as the demo came, also with an error.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	d := &demo{Config: cfg, more: make(chan struct{})}
	d.result.Pace = cfg.Pace
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() { d.follow(ctx) })

	started := time.Now()
	for _, part := range []func(context.Context) error{
		d.without, d.trip, d.with, d.heal, d.allOpen, d.allHealed,
	} {
		if err := part(ctx); err != nil {
			return &d.result, err
		}
	}
	d.result.Took = time.Since(started)
	d.result.judge()
	return &d.result, nil
}

// without measures before there is a breaker.
func (d *demo) without(ctx context.Context) error {
	d.Show.Part("Without a breaker",
		"slow-cooker calls Service bb at 10 rps; of its two endpoints, good answers 200 and bad answers 500")
	if err := d.waitForLoad(ctx, d.Pace.Before); err != nil {
		return err
	}
	figures, err := d.measure(ctx, d.Pace.Before)
	if err != nil {
		return err
	}
	d.result.Before = figures
	d.Show.Figures(figures)
	return nil
}

// trip switches the breaker on and waits until it opens.
func (d *demo) trip(ctx context.Context) error {
	d.Show.Part("Breaking the circuit", "")
	set := map[string]*string{}
	for key, value := range d.Pace.Annotations {
		set[key] = &value
	}
	on := "consecutive"
	set[accrue] = &on
	d.Show.Command("recloser annotate -n %s svc/bb %s=%s", Namespace, accrue, on)
	annotated := time.Now()
	if _, err := d.Mesh.Annotate(ctx, observe.Annotation{
		Kind: "service", Namespace: Namespace, Name: "bb", Annotations: set,
	}); err != nil {
		return fmt.Errorf("setting the annotation: %w", err)
	}
	ev, err := d.await(ctx, "the breaker of bad to open", func(e breakers.Event) bool {
		return e.To == breakers.Open && workload(e) == bad
	})
	if err != nil {
		return err
	}
	d.result.Trip = Trip{After: ev.Time.Sub(annotated), Cause: ev.Detail, At: ev.Time}
	d.Show.Event(ev)
	return nil
}

// with measures with the breaker, once the back-off is long enough for the
// window.
func (d *demo) with(ctx context.Context) error {
	d.Show.Note("each probe is one real request of slow-cooker; the back-off doubles while they fail")
	ev, err := d.await(ctx, "a back-off as long as the window", func(e breakers.Event) bool {
		return e.To == breakers.Open && workload(e) == bad && e.Until != nil && e.Until.Sub(e.Time) > min(d.Pace.Quiet+2*scrapeLag, maxBackoff)
	})
	if err != nil {
		return err
	}
	d.Show.Part("With the breaker", fmt.Sprintf("the %s behind the last probe; the next is due in %s",
		d.Pace.Quiet, ev.Until.Sub(ev.Time).Round(100*time.Millisecond)))
	// The window begins when the failed probe is behind it.
	begin := ev.Time.Add(scrapeLag)
	if err := d.until(ctx, begin.Add(d.Pace.Quiet), d.Pace.Quiet); err != nil {
		return err
	}
	figures, err := d.measure(ctx, d.Pace.Quiet)
	if err != nil {
		return err
	}
	d.result.After = figures
	d.Show.Figures(figures)
	since := time.Since(d.result.Trip.At).Round(time.Second)
	if d.result.SinceTrip, err = d.measure(ctx, since); err != nil {
		return err
	}
	d.result.Probes = d.count(func(e breakers.Event) bool { return e.To == breakers.HalfOpen })
	d.Show.Note(fmt.Sprintf("over all %s since it opened, its %d probes included: success %s, bad %s",
		since, d.result.Probes, percent(d.result.SinceTrip.Success), rps(d.result.SinceTrip.BadRPS)))
	return nil
}

// heal makes bad well and waits for the probe that finds it so.
func (d *demo) heal(ctx context.Context) error {
	d.Show.Part("bad is well again", "its next probe finds out")
	healed := time.Now()
	if err := d.Fail(ctx, bad, 0); err != nil {
		return err
	}
	d.forget()
	ev, err := d.await(ctx, "the probe of bad to succeed", func(e breakers.Event) bool {
		return e.To == breakers.Closed && workload(e) == bad
	})
	if err != nil {
		return err
	}
	d.result.RecoveredAfter = ev.Time.Sub(healed)
	d.Show.Event(ev)
	look := min(d.Pace.Before, 5*time.Second)
	if err := d.until(ctx, time.Now().Add(look+scrapeLag), look); err != nil {
		return err
	}
	if d.result.Recovered, err = d.measure(ctx, look); err != nil {
		return err
	}
	d.Show.Figures(d.result.Recovered)
	return nil
}

// allOpen breaks both endpoints and looks at how callers are refused.
func (d *demo) allOpen(ctx context.Context) error {
	d.Show.Part("Every endpoint fails", "callers wait for one at most 3 s, then each is refused at once")
	d.forget()
	for _, name := range []string{good, bad} {
		if err := d.Fail(ctx, name, 100); err != nil {
			return err
		}
	}
	open := map[string]bool{}
	last, err := d.await(ctx, "both breakers to open", func(e breakers.Event) bool {
		open[workload(e)] = e.To != breakers.Closed
		return open[good] && open[bad]
	})
	if err != nil {
		return err
	}
	d.Show.Event(last)
	address, err := d.Outbound(caller)
	if err != nil {
		return err
	}
	if d.result.FailFast, err = knock(ctx, address, d.Show); err != nil {
		return err
	}
	d.Show.Note(d.result.FailFast.String())
	return nil
}

// allHealed ends with everything as it should be.
func (d *demo) allHealed(ctx context.Context) error {
	d.Show.Part("Everything is well again", "")
	d.forget()
	for _, name := range []string{good, bad} {
		if err := d.Fail(ctx, name, 0); err != nil {
			return err
		}
	}
	closed := map[string]bool{}
	if _, err := d.await(ctx, "both breakers to close", func(e breakers.Event) bool {
		if e.To == breakers.Closed {
			d.Show.Event(e)
		}
		closed[workload(e)] = e.To == breakers.Closed
		return closed[good] && closed[bad]
	}); err != nil {
		return err
	}
	return nil
}

var errNotSeen = errors.New("it did not come")
