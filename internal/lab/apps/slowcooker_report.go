package apps

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// cookReport counts the results of one interval and of the whole run, and
// prints them in the lines of slow_cooker:
//
//	TIME ITERATION GOOD/BAD/FAILED GOAL GOAL% INTERVAL MIN [P50 P95 P99 P999 ] MAX BADHASHES CHANGE
//
// GOOD answers have a status of 200 to 499, BAD ones any other; FAILED
// requests have no answer. GOAL is the requests that were due in the interval,
// GOAL% the share of it that was answered, at most 100. CHANGE compares the
// p99 with the mean of the five intervals before: one sign for each power of
// ten, at most three. Owned by the loop of run.
type cookReport struct {
	cfg *cookConfig
	out io.Writer

	iteration int
	since     time.Time // start of the interval
	good, bad uint64
	failed    uint64
	badHashes uint64
	latency   *hdrhistogram.Histogram // of the interval, in cfg.latencyUnit
	all       *hdrhistogram.Histogram // of the run
	lastP99s  []int64                 // of up to five intervals, oldest first
	errors    map[string]bool         // texts that this interval printed
}

const (
	changeWindow     = 5 // intervals
	maxPrintedErrors = 8 // different texts per interval
)

func newCookReport(cfg *cookConfig, out io.Writer, start time.Time) *cookReport {
	day := int64(24 * time.Hour / cfg.latencyUnit)
	return &cookReport{
		cfg: cfg, out: out, since: start,
		latency: hdrhistogram.New(1, day, 3),
		all:     hdrhistogram.New(1, day, 3),
		errors:  make(map[string]bool),
	}
}

// header prints the two lines above the first report line.
func (r *cookReport) header() {
	target := "to " + r.cfg.target
	if strings.HasPrefix(r.cfg.target, "@") {
		target = "using url list " + r.cfg.target[1:]
	}
	fmt.Fprintf(r.out, "# sending %d %s req/s with concurrency=%d %s ...\n",
		r.cfg.rate(), r.cfg.method, r.cfg.concurrency, target)
	// The columns stand under a time in this zone and an interval of this length.
	stamp := strings.Repeat(" ", max(0, len(r.since.Format(time.RFC3339))-2))
	interval := strings.Repeat(" ", max(0, len(r.cfg.interval.String())-2))
	fmt.Fprintf(r.out, "# %s iter   good/b/f t   goal%% %s min [p50 p95 p99  p999]  max bhash change\n", stamp, interval)
}

// add counts one result.
func (r *cookReport) add(res cookResult) {
	if res.err != nil {
		r.failed++
		return
	}
	if res.status >= 200 && res.status < 500 {
		r.good++
	} else {
		r.bad++
	}
	if res.badHash {
		r.badHashes++
	}
	v := min(int64(res.latency/r.cfg.latencyUnit), r.latency.HighestTrackableValue())
	// Recording fails only above the highest value, which v is not.
	_ = r.latency.RecordValue(v)
	_ = r.all.RecordValue(v)
}

// isNewError tells whether err is to be printed: each text once per interval.
func (r *cookReport) isNewError(err error) bool {
	text := errorText(err)
	if r.errors[text] || len(r.errors) == maxPrintedErrors {
		return false
	}
	r.errors[text] = true
	return true
}

// line prints the interval that ends now and begins the next.
func (r *cookReport) line(now time.Time) {
	r.print(now, uint64(math.Round(float64(r.cfg.rate())*r.cfg.interval.Seconds())))
}

// finish prints what the last, unfinished interval holds, the latencies of the
// run, and the CSV file.
func (r *cookReport) finish(now time.Time) error {
	done := r.cfg.iterations > 0 && uint64(r.iteration) >= r.cfg.iterations //nolint:gosec // counts up from 0
	if n := r.good + r.bad + r.failed; n > 0 && !done {
		// Every request that was due has ended by now, so they are the goal.
		r.print(now, n)
	}
	var err error
	if !r.cfg.noLatencySummary {
		err = r.summary()
	}
	if r.cfg.latenciesCSV != "" {
		err = errors.Join(err, r.writeCSV())
	}
	return err
}

func (r *cookReport) print(now time.Time, goal uint64) {
	p99 := r.latency.ValueAtQuantile(99)
	share := 100
	if goal > 0 {
		share = int(min(100, (r.good+r.bad)*100/goal)) //nolint:gosec // at most 100
	}
	fmt.Fprintf(r.out, "%s %4d %6d/%1d/%1d %d %3d%% %s %3d [%3d %3d %3d %4d ] %4d %6d %s\n",
		now.Format(time.RFC3339), r.iteration, r.good, r.bad, r.failed, goal, share, r.cfg.interval,
		r.latency.Min(), r.latency.ValueAtQuantile(50), r.latency.ValueAtQuantile(95), p99,
		r.latency.ValueAtQuantile(99.9), r.latency.Max(), r.badHashes, changeSign(r.lastP99s, p99))

	if len(r.lastP99s) == changeWindow {
		r.lastP99s = r.lastP99s[1:]
	}
	r.lastP99s = append(r.lastP99s, p99)
	r.iteration++
	r.since = now
	r.good, r.bad, r.failed, r.badHashes = 0, 0, 0, 0
	r.latency.Reset()
	clear(r.errors)
}

// changeSign compares latest with the mean of those before: a plus for each
// power of ten above, a minus for each below, at most three. From or to 0 is
// one sign.
func changeSign(before []int64, latest int64) string {
	if len(before) == 0 {
		return ""
	}
	var sum int64
	for _, v := range before {
		sum += v
	}
	mean := sum / int64(len(before))
	switch {
	case mean == latest:
		return ""
	case mean == 0:
		return "+"
	case latest == 0:
		return "-"
	}
	powers := int(math.Log10(float64(latest)) - math.Log10(float64(mean)))
	if powers < 0 {
		return strings.Repeat("-", min(3, -powers))
	}
	return strings.Repeat("+", min(3, powers))
}

// summary prints the percentiles of the run as JSON.
func (r *cookReport) summary() error {
	enc := json.NewEncoder(r.out)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		P50  int64 `json:"p50"`
		P75  int64 `json:"p75"`
		P90  int64 `json:"p90"`
		P95  int64 `json:"p95"`
		P99  int64 `json:"p99"`
		P999 int64 `json:"p999"`
	}{
		r.all.ValueAtQuantile(50), r.all.ValueAtQuantile(75), r.all.ValueAtQuantile(90),
		r.all.ValueAtQuantile(95), r.all.ValueAtQuantile(99), r.all.ValueAtQuantile(99.9),
	})
}

// writeCSV writes the histogram of the run, one line "from, to, count" per
// bucket.
func (r *cookReport) writeCSV() (err error) {
	f, err := os.Create(r.cfg.latenciesCSV)
	if err != nil {
		return fmt.Errorf("-reportLatenciesCSV: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, bar := range r.all.Distribution() {
		if _, err := fmt.Fprintf(f, "%d, %d, %d\n", bar.From, bar.To, bar.Count); err != nil {
			return fmt.Errorf("-reportLatenciesCSV: %w", err)
		}
	}
	return nil
}
