package scrape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// processStart is the metric by which we know when a proxy began.
const processStart = "process_start_time_seconds"

// target is what we know of one target between rounds. One worker at a time.
type target struct {
	Target
	base     labels.Labels // Labels, and instance and job as in Prometheus
	series   map[string]*series
	symbols  *labels.SymbolTable
	body     bytes.Buffer // reused
	samples  []sample     // reused
	lastGood int64        // milliseconds of the last scrape that went well; 0: none
	failures int          // in a row
	pause    int          // rounds to leave out
	state    [len(stateMetrics)]series
}

// series is one series of a target.
type series struct {
	ref    storage.SeriesRef
	labels labels.Labels
	seen   int64 // milliseconds of the last scrape that had it
	stale  bool  // its marker is written
}

// stateMetrics are what the scraper itself says of a target, named as in
// Prometheus.
var stateMetrics = [...]string{"up", "scrape_duration_seconds", "scrape_samples_scraped"}

func newTarget(is Target) *target {
	is.Labels = maps.Clone(is.Labels)
	b := labels.NewBuilder(labels.FromMap(is.Labels))
	b.Set("instance", is.Address)
	b.Set("job", "recloser-proxy")
	t := &target{Target: is, base: b.Labels(), series: make(map[string]*series), symbols: labels.NewSymbolTable()}
	for i, name := range stateMetrics {
		t.state[i].labels = labels.NewBuilder(t.base).Set(model.MetricNameLabel, name).Labels()
	}
	return t
}

// append writes a scrape: the zeros of new counters, the samples, and the
// staleness markers of series that are no longer there. All or nothing.
func (t *target) append(ctx context.Context, store Store, samples []sample, at, scraperStart int64) (err error) {
	app := store.AppenderV2(ctx)
	defer func() {
		if err != nil {
			_ = app.Rollback()
		}
	}()
	zero := t.zero(samples, at, scraperStart)
	for i := range samples {
		sm := &samples[i]
		se := t.series[string(sm.key)]
		if se == nil {
			se = &series{labels: t.label(sm.labels)}
			t.series[string(sm.key)] = se
			if sm.counter && zero > 0 {
				if err := se.append(app, zero, 0); err != nil {
					return err
				}
			}
		}
		se.seen, se.stale = at, false
		if err := se.append(app, at, sm.value); err != nil {
			return err
		}
	}
	for key, se := range t.series {
		if se.seen == at {
			continue
		}
		if err := se.markStale(app, at); err != nil {
			return err
		}
		delete(t.series, key)
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("commit samples: %w", err)
	}
	t.lastGood = at
	return nil
}

// zero returns the instant, in milliseconds, at which a counter that appears
// in this scrape was still zero, or 0 when that is not known.
//
//   - After a good scrape: the instant of that scrape, which did not have it.
//   - At the first scrape of a process that began after the scraper did: the
//     start of the process. If the series has samples since then (the proxy was
//     connected before, went, and came back), the store refuses the zero, and
//     that is right.
//   - Of a process that is older than the scraper we do not know when it counted
//     what it counted; its first value is where we begin. Otherwise a control
//     plane that restarts would show all requests of the past as of this second.
func (t *target) zero(samples []sample, at, scraperStart int64) int64 {
	if t.lastGood > 0 {
		return t.lastGood
	}
	for i := range samples {
		if string(samples[i].key) != processStart {
			continue
		}
		// Linux gives the start with the boot time's resolution of a second.
		start := int64(samples[i].value * 1000)
		if start < scraperStart-1000 {
			return 0
		}
		return min(start, at-1)
	}
	return 0
}

// label adds the target's labels to a metric's own.
func (t *target) label(own labels.Labels) labels.Labels {
	b := labels.NewBuilder(own)
	t.base.Range(func(l labels.Label) {
		if v := own.Get(l.Name); v != "" {
			b.Set("exported_"+l.Name, v)
		}
		b.Set(l.Name, l.Value)
	})
	return b.Labels()
}

// markStale ends all series of the target, so that queries do not find a value
// of before as one of now. The series stay known: what comes back with them is
// not new.
func (t *target) markStale(ctx context.Context, store Store, at int64) error {
	app := store.AppenderV2(ctx)
	for _, se := range t.series {
		if err := se.markStale(app, at); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

// markGone ends the scraper's own series of the target.
func (t *target) markGone(ctx context.Context, store Store, at int64) error {
	app := store.AppenderV2(ctx)
	for i := range t.state {
		if t.state[i].seen == 0 {
			continue
		}
		if err := t.state[i].markStale(app, at); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

// report appends up and its companions.
func (t *target) report(ctx context.Context, store Store, at int64, up bool, took time.Duration, samples int) error {
	app := store.AppenderV2(ctx)
	values := [len(stateMetrics)]float64{0, took.Seconds(), float64(samples)}
	if up {
		values[0] = 1
	}
	for i := range t.state {
		t.state[i].seen, t.state[i].stale = at, false
		if err := t.state[i].append(app, at, values[i]); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

// refused are answers of the store about one sample that must not cost the
// others: it already has a newer one, or another for the same instant.
var refused = []error{storage.ErrOutOfOrderSample, storage.ErrDuplicateSampleForTimestamp, storage.ErrOutOfBounds, storage.ErrTooOldSample}

func (se *series) append(app storage.AppenderV2, at int64, v float64) error {
	ref, err := app.Append(se.ref, se.labels, 0, at, v, nil, nil, storage.AOptions{RejectOutOfOrder: true})
	if err == nil {
		se.ref = ref
		return nil
	}
	if slices.ContainsFunc(refused, func(is error) bool { return errors.Is(err, is) }) {
		return nil
	}
	return fmt.Errorf("append %s: %w", se.labels, err)
}

func (se *series) markStale(app storage.AppenderV2, at int64) error {
	if se.stale {
		return nil
	}
	se.stale = true
	return se.append(app, at, math.Float64frombits(value.StaleNaN))
}
