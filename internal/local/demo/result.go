package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// Figures are what one window showed.
type Figures struct {
	Window time.Duration `json:"window_ns"`
	// Success is the share of slow-cooker's calls to bb that succeeded, 0 to 1;
	// nil: there were none.
	Success *float64 `json:"success"`
	RPS     float64  `json:"rps"`
	GoodRPS float64  `json:"good_rps"`
	BadRPS  float64  `json:"bad_rps"`
	// Deployments and Caller are the tutorial's two tables.
	Deployments *stat.Table `json:"deployments"`
	Caller      *stat.Table `json:"caller"`
}

// Trip is how the breaker opened.
type Trip struct {
	At    time.Time     `json:"at"`
	After time.Duration `json:"after_annotation_ns"`
	Cause string        `json:"cause"`
}

// Check is one figure beside the tutorial's.
type Check struct {
	Name     string `json:"name"`
	Tutorial string `json:"tutorial"`
	Here     string `json:"here"`
	Wanted   string `json:"wanted"`
	Met      bool   `json:"met"`
}

// Result is what a demo has measured.
type Result struct {
	Pace           Pace          `json:"pace"`
	Before         Figures       `json:"before"`
	Trip           Trip          `json:"trip"`
	After          Figures       `json:"after"`
	SinceTrip      Figures       `json:"since_trip"`
	Probes         int           `json:"probes"`
	RecoveredAfter time.Duration `json:"recovered_after_ns"`
	Recovered      Figures       `json:"recovered"`
	FailFast       FailFast      `json:"fail_fast"`
	Took           time.Duration `json:"took_ns"`
	Checks         []Check       `json:"checks"`
	Met            bool          `json:"met"`
}

// judge compares with the tutorial. Its own figures are of one minute each; the
// share of bad in the first depends on the balancer's dice.
func (r *Result) judge() {
	check := func(name, tutorial, here, wanted string, met bool) {
		r.Checks = append(r.Checks, Check{name, tutorial, here, wanted, met})
	}
	within := func(v *float64, low, high float64) bool { return v != nil && *v >= low && *v <= high }
	check("success without a breaker", "51.00%", percent(r.Before.Success), "30% to 70%", within(r.Before.Success, .30, .70))
	check("success with the breaker", "99.83%", percent(r.After.Success), "at least 99.83%", within(r.After.Success, .9983, 1))
	check("bad, without a breaker", "4.7rps", rps(r.Before.BadRPS), "3rps to 7rps", r.Before.BadRPS >= 3 && r.Before.BadRPS <= 7)
	check("bad, with the breaker", "0.3rps", rps(r.After.BadRPS), "at most 0.3rps", r.After.BadRPS <= 0.3)
	check("bad recovers by a probe", "-", "after "+r.RecoveredAfter.Round(100*time.Millisecond).String(), "it does, and gets calls again",
		r.RecoveredAfter > 0 && r.Recovered.BadRPS > 0.5)
	check("all open: longest wait", "-", r.FailFast.LongestWait.Round(10*time.Millisecond).String(), "3s, then 503 at once", r.FailFast.met())
	r.Met = true
	for _, c := range r.Checks {
		r.Met = r.Met && c.Met
	}
}

// Write writes the closing table.
func (r *Result) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "\tTUTORIAL\tHERE\tWANTED\t")
	for _, c := range r.Checks {
		mark := "√"
		if !c.Met {
			mark = "×"
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t\n", mark, c.Name, c.Tutorial, c.Here, c.Wanted)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	// The tutorial looked when the back-off had grown to a minute, so that a
	// minute of 600 calls held one probe. The first minute holds more.
	_, err := fmt.Fprintf(w, "\nWith the breaker: %s between two probes. Over the first %s since it opened, %d failed probes\nincluded: success %s, bad %s. With back-offs of a minute one call in 600 is a probe: 99.83%%.\n",
		r.Pace.Quiet, r.SinceTrip.Window, r.Probes, percent(r.SinceTrip.Success), rps(r.SinceTrip.BadRPS))
	return err
}

// WriteJSON writes all that was measured.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func percent(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f%%", 100**v)
}

func rps(v float64) string { return fmt.Sprintf("%.1frps", v) }
