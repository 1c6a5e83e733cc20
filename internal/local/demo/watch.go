package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

const (
	// scrapeLag is how long it takes until what happened shows in the metrics.
	scrapeLag = 1500 * time.Millisecond
	// redraw is how often the live figures are made anew.
	redraw = 500 * time.Millisecond
	// maxBackoff is the longest back-off that a window need wait for: later
	// ones, up to Linkerd's maximum of a minute, would take too long.
	maxBackoff = 15 * time.Second
)

// follow gathers the events of the mesh until ctx ends.
func (d *demo) follow(ctx context.Context) {
	for ctx.Err() == nil {
		seen := 0
		_ = d.Mesh.Events(ctx, breakers.Filter{Namespace: Namespace}, true, func(l breakers.Line) error {
			if l.Event == nil {
				return nil
			}
			seen++
			d.mu.Lock()
			defer d.mu.Unlock()
			if seen > len(d.events) { // after a new start the old ones come again
				d.events = append(d.events, *l.Event)
				close(d.more)
				d.more = make(chan struct{})
			}
			return nil
		})
		select { // the stream was cut: once more
		case <-ctx.Done():
		case <-time.After(redraw):
		}
	}
}

// forget lets await see only what comes from now on.
func (d *demo) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = len(d.events)
}

// count counts the events so far.
func (d *demo) count(f func(breakers.Event) bool) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if f(e) {
			n++
		}
	}
	return n
}

// await waits for an event, redrawing the figures meanwhile.
func (d *demo) await(ctx context.Context, what string, is func(breakers.Event) bool) (breakers.Event, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for next := d.next; ; {
		d.mu.Lock()
		fresh, more := d.events[min(next, len(d.events)):], d.more
		d.mu.Unlock()
		for _, e := range fresh {
			next++
			if is(e) {
				d.next = next
				return e, nil
			}
			if e.To == breakers.Open {
				d.Show.Event(e)
			}
		}
		select {
		case <-more:
		case <-tick.C:
			d.live(ctx, "waiting for "+what)
		case <-deadline.C:
			return breakers.Event{}, fmt.Errorf("waiting %s for %s: %w", patience, what, errNotSeen)
		case <-ctx.Done():
			return breakers.Event{}, ctx.Err()
		}
	}
}

// until waits for an instant, redrawing the figures of a window.
func (d *demo) until(ctx context.Context, at time.Time, window time.Duration) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-tick.C:
			left := max(time.Until(at), 0).Round(time.Second)
			d.live(ctx, fmt.Sprintf("measuring %s, %s left", window, left))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *demo) live(ctx context.Context, doing string) {
	if !d.Show.Live() {
		return
	}
	table, err := d.Mesh.Stat(ctx, stat.Request{
		Resource: stat.Ref{Kind: stat.Deployment}, Namespace: Namespace, Window: 3 * time.Second,
	})
	if err == nil {
		d.Show.Redraw(doing, table)
	}
}

// waitForLoad waits until slow-cooker has called for as long as the window.
func (d *demo) waitForLoad(ctx context.Context, window time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		f, err := d.measure(ctx, 2*time.Second)
		if err == nil && f.RPS > 1 {
			return d.until(ctx, time.Now().Add(window+scrapeLag), window)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting %s for slow-cooker to send: %w", patience, errNotSeen)
		}
		d.live(ctx, "slow-cooker sleeps 5 s before it begins")
		select {
		case <-time.After(redraw):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// measure takes the figures of a window that ends now.
func (d *demo) measure(ctx context.Context, window time.Duration) (Figures, error) {
	f := Figures{Window: window}
	var err error
	f.Deployments, err = d.Mesh.Stat(ctx, stat.Request{
		Resource: stat.Ref{Kind: stat.Deployment}, Namespace: Namespace, Window: window,
	})
	if err != nil {
		return f, err
	}
	f.Caller, err = d.Mesh.Stat(ctx, stat.Request{
		Resource: stat.Ref{Kind: stat.Deployment, Name: caller}, Namespace: Namespace,
		To: stat.Ref{Kind: stat.Service, Name: "bb"}, Window: window,
	})
	if err != nil {
		return f, err
	}
	for _, r := range f.Deployments.Rows {
		if r.RPS == nil {
			continue
		}
		switch r.Name {
		case bad:
			f.BadRPS = *r.RPS
		case good:
			f.GoodRPS = *r.RPS
		}
	}
	for _, r := range f.Caller.Rows {
		if r.RPS != nil {
			f.RPS = *r.RPS
		}
		f.Success = r.Success
	}
	return f, nil
}

// workload is whose endpoint an event is about.
func workload(e breakers.Event) string { return e.Endpoint.Workload }
