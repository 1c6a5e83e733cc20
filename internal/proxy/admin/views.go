package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Cluster is one element of /clusters and /breakers?format=json.
type Cluster struct {
	Name      string `json:"name"`
	Direction string `json:"direction"`
	Service   string `json:"service,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Port      string `json:"port,omitempty"`
	Balancer  string `json:"balancer"`
	// Requests, Connections and Pending are under way now.
	Requests    uint64 `json:"requests"`
	Connections uint64 `json:"connections"`
	Pending     uint64 `json:"pending"`
	// Waiting requests have no endpoint yet.
	Waiting        int     `json:"waiting"`
	EjectedPercent float64 `json:"ejected_percent"`
	// Priorities are there where the cluster has more than one.
	Priorities []Priority `json:"priorities,omitempty"`
	Endpoints  []Endpoint `json:"endpoints"`
}

// Priority is one level of failover of a Cluster.
type Priority struct {
	Endpoints int    `json:"endpoints"`
	Ready     int    `json:"ready"`
	Share     uint32 `json:"share_percent"` // of the requests
	Panic     bool   `json:"panic,omitempty"`
}

// Endpoint is one endpoint of a Cluster.
type Endpoint struct {
	Address             string            `json:"address"`
	State               string            `json:"state"` // closed, open, half_open
	Cause               string            `json:"cause,omitempty"`
	ConsecutiveFailures uint32            `json:"consecutive_failures"`
	Since               *time.Time        `json:"since,omitempty"`
	Until               *time.Time        `json:"until,omitempty"`
	Ejections           uint64            `json:"ejections"`
	SuccessRate         *float64          `json:"success_rate,omitempty"` // of the last requests
	Priority            uint32            `json:"priority,omitempty"`
	Locality            string            `json:"locality,omitempty"`
	Labels              map[string]string `json:"labels,omitempty"`
}

func (s *Server) view(c *upstream.Cluster) Cluster {
	cfg := c.Config()
	inFlight := c.Limits().InFlight()
	out := Cluster{
		Name: c.Name(), Direction: cfg.Direction.String(),
		Service: cfg.Service.Name, Namespace: cfg.Service.Namespace, Port: cfg.Service.Port,
		Balancer: cfg.LB.String(),
		Requests: inFlight.Requests, Connections: inFlight.Connections, Pending: inFlight.Pending,
		Waiting: c.Waiting(), Endpoints: []Endpoint{},
	}
	if levels := c.Levels(); len(levels) > 1 {
		for _, l := range levels {
			out.Priorities = append(out.Priorities, Priority(l))
		}
	}
	open := 0
	for _, st := range c.States() {
		place := c.EndpointPlace(st.Name)
		e := Endpoint{
			Priority: place.Priority, Locality: place.Locality.String(),
			Address: st.Name, State: st.State.String(), Cause: st.Detail,
			ConsecutiveFailures: st.Failures, Ejections: st.Trips,
			Since: s.time(st.Since), Until: s.time(st.Until),
			Labels: journal.Labels(c.EndpointLabels(st.Name)),
		}
		if st.SuccessRate >= 0 {
			e.SuccessRate = new(st.SuccessRate)
		}
		if st.State != breaker.Closed {
			open++
		}
		out.Endpoints = append(out.Endpoints, e)
	}
	if n := len(out.Endpoints); n > 0 {
		out.EjectedPercent = 100 * float64(open) / float64(n)
	}
	return out
}

func (s *Server) time(instant time.Duration) *time.Time {
	if instant == 0 {
		return nil
	}
	return new(s.cfg.Wall.Time(instant).UTC())
}

func (s *Server) views() []Cluster {
	all := []Cluster{}
	for _, c := range s.cfg.Clusters() {
		all = append(all, s.view(c))
	}
	return all
}

func (s *Server) clusters(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, struct {
		Clusters []Cluster `json:"clusters"`
	}{s.views()})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the reader went away
}

func (s *Server) breakers(w http.ResponseWriter, r *http.Request) {
	views := slices.DeleteFunc(s.views(), func(c Cluster) bool { return c.Direction == "inbound" })
	if r.URL.Query().Get("format") == "json" {
		writeJSON(w, struct {
			Clusters []Cluster `json:"clusters"`
		}{views})
		return
	}
	s.breakerTable(w, views)
}

func (s *Server) breakerTable(out io.Writer, views []Cluster) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	placed := slices.ContainsFunc(views, func(c Cluster) bool {
		return slices.ContainsFunc(c.Endpoints, func(e Endpoint) bool { return c.place(e) != "" })
	})
	heading := ""
	if placed {
		heading = "PLACE\t"
	}
	fmt.Fprintln(w, "CLUSTER\tENDPOINT\tPOD\t"+heading+"STATE\tFAILURES\tEJECTIONS\tNEXT\tCAUSE")
	now := s.cfg.Wall.Time(s.cfg.Now())
	for _, c := range views {
		for _, e := range c.Endpoints {
			next, cause := "-", "-"
			if e.Until != nil {
				next = max(e.Until.Sub(now), 0).Round(100 * time.Millisecond).String()
			}
			if e.Cause != "" && e.State != "closed" {
				cause = e.Cause
			}
			pod := e.Labels["pod"]
			if pod == "" {
				pod = "-"
			}
			place := ""
			if placed {
				place = c.place(e) + "\t"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\t%d\t%d\t%s\t%s\n",
				c.Name, e.Address, pod, place, e.State, e.ConsecutiveFailures, e.Ejections, next, cause)
		}
	}
}

// place is an endpoint's priority and locality, as far as there are such.
func (c *Cluster) place(e Endpoint) string {
	var out []string
	if len(c.Priorities) > 1 {
		out = append(out, strconv.FormatUint(uint64(e.Priority), 10))
	}
	if e.Locality != "" {
		out = append(out, e.Locality)
	}
	return strings.Join(out, " ")
}

// configDump writes the resources by short type and name.
func (s *Server) configDump(w http.ResponseWriter, _ *http.Request) {
	dump := make(map[string]map[string]json.RawMessage)
	all := s.cfg.Resources()
	for _, t := range slices.Sorted(maps.Keys(all)) {
		byName := make(map[string]json.RawMessage)
		for name, m := range all[t] {
			text, err := protojson.Marshal(m)
			if err != nil {
				text, _ = json.Marshal("cannot be shown: " + err.Error())
			}
			byName[name] = text
		}
		dump[t.String()] = byName
	}
	writeJSON(w, dump)
}

// Event is one line of /events.
type Event struct {
	Seq      uint64            `json:"seq"`
	Time     time.Time         `json:"time"`
	Cluster  string            `json:"cluster"`
	Endpoint string            `json:"endpoint"`
	From     string            `json:"from"`
	To       string            `json:"to"`
	Cause    string            `json:"cause"`
	Detail   string            `json:"detail,omitempty"`
	Until    *time.Time        `json:"until,omitempty"`
	Refused  bool              `json:"refused,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Missed says how many events before this one are no longer known.
	Missed uint64 `json:"missed,omitempty"`
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	seq, err := strconv.ParseUint(orZero(query.Get("since")), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("since %q: must be the number of an event", query.Get("since")), http.StatusBadRequest)
		return
	}
	follow := query.Has("follow") && query.Get("follow") != "false"
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for {
		entries, missed, more := s.cfg.Journal.Since(seq)
		for _, entry := range entries {
			line := eventOf(entry)
			line.Missed, missed = missed, 0
			if out.Encode(line) != nil {
				return
			}
			seq = entry.Seq
		}
		if !follow || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func eventOf(entry journal.Entry) Event {
	ev := entry.Event
	out := Event{
		Seq: entry.Seq, Time: ev.GetTime().AsTime(), Cluster: ev.GetCluster(), Endpoint: ev.GetEndpoint(),
		From: stateName(ev.GetFrom()), To: stateName(ev.GetTo()), Cause: ev.GetCause(), Detail: ev.GetDetail(),
		Refused: ev.GetRefused(), Labels: ev.GetLabels(),
	}
	if ev.GetUntil() != nil {
		out.Until = new(ev.GetUntil().AsTime())
	}
	return out
}

func stateName(s reportv1.State) string { return strings.ToLower(s.String()) }
