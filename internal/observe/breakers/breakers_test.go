package breakers

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
)

var now = time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)

const bb = "outbound|8080||bb.demo.svc.cluster.local"

func client(pod string) Client {
	return Client{Node: pod + ".demo", Namespace: "demo", Workload: "slow-cooker", Kind: "Deployment", Pod: pod}
}

func labelled(workload string) map[string]string {
	return map[string]string{"namespace": "demo", "workload": workload, "pod": workload + "-1"}
}

func state(clusters ...*reportv1.ClusterState) []Report {
	return []Report{{Client: client("slow-cooker-1"), Clusters: clusters}}
}

func tripped() *reportv1.ClusterState {
	return &reportv1.ClusterState{Cluster: bb, EjectedPercent: 50, Waiting: 2, Endpoints: []*reportv1.EndpointState{
		{Address: "127.0.1.3:8080", State: reportv1.State_CLOSED, SuccessRate: 1, Labels: labelled("good")},
		{
			Address: "127.0.1.2:8080", State: reportv1.State_OPEN, Cause: "7 failures in a row, the last a 500", ConsecutiveFailures: 7,
			Until: timestamppb.New(now.Add(3250 * time.Millisecond)), Ejections: 1, SuccessRate: -1, Labels: labelled("bad"),
		},
	}}
}

// placed is tripped where the second endpoint stands in for the first.
func placed() *reportv1.ClusterState {
	c := tripped()
	c.Endpoints[1].Labels["priority"] = "0"
	c.Endpoints[0].Labels["priority"], c.Endpoints[0].Labels["locality"] = "1", "us/us-1"
	return c
}

func text(t *testing.T, l List, s Style) string {
	t.Helper()
	var b strings.Builder
	if err := l.WriteTable(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	two := append(state(tripped()), Report{Client: client("slow-cooker-2"), Clusters: []*reportv1.ClusterState{
		{Cluster: "custom", Endpoints: []*reportv1.EndpointState{{Address: "10.0.0.1:80", State: reportv1.State_HALF_OPEN, Cause: "late"}}},
	}})
	for name, tc := range map[string]struct {
		reports []Report
		filter  Filter
		style   Style
		want    string
	}{
		"tripped": {state(tripped()), Filter{}, Style{}, `
CLIENT        SERVICE        ENDPOINT                  STATE    CAUSE                                 FAILURES   NEXT PROBE IN   EJECTED
slow-cooker   bb.demo:8080   bad-1 (127.0.1.2:8080)    open     7 failures in a row, the last a 500          7            3.2s       50%
slow-cooker   bb.demo:8080   good-1 (127.0.1.3:8080)   closed   -                                            0               -       50%
`},
		"priorities": {state(placed()), Filter{}, Style{}, `
CLIENT        SERVICE        ENDPOINT                               STATE    CAUSE                                 FAILURES   NEXT PROBE IN   EJECTED
slow-cooker   bb.demo:8080   bad-1 (127.0.1.2:8080) [0]             open     7 failures in a row, the last a 500          7            3.2s       50%
slow-cooker   bb.demo:8080   good-1 (127.0.1.3:8080) [1, us/us-1]   closed   -                                            0               -       50%
`},
		"a namespace that was asked for": {state(tripped()), Filter{Namespace: "demo"}, Style{Namespace: "demo"}, `
CLIENT        SERVICE   ENDPOINT                  STATE    CAUSE                                 FAILURES   NEXT PROBE IN   EJECTED
slow-cooker   bb:8080   bad-1 (127.0.1.2:8080)    open     7 failures in a row, the last a 500          7            3.2s       50%
slow-cooker   bb:8080   good-1 (127.0.1.3:8080)   closed   -                                            0               -       50%
`},
		"narrow": {state(tripped()), Filter{}, Style{Width: 100}, `
CLIENT        SERVICE   ENDPOINT   STATE    CAUSE                          FAIL   PROBE IN   EJECTED
slow-cooker   bb:8080   bad-1      open     7 failures in a row, the la…      7       3.2s       50%
slow-cooker   bb:8080   good-1     closed   -                                 0          -       50%
`},
		"80 columns": {state(tripped()), Filter{}, Style{Width: 80}, `
CLIENT        SERVICE   ENDPOINT   STATE    CAUSE      FAIL   PROBE IN   EJECTED
slow-cooker   bb:8080   bad-1      open     7 failu…      7       3.2s       50%
slow-cooker   bb:8080   good-1     closed   -             0          -       50%
`},
		"too narrow": {state(tripped()), Filter{}, Style{Width: 60}, `
CLIENT     SERVICE   ENDPOINT   STATE    …   FAIL   PROBE IN
slow-co…   bb:8080   bad-1      open     …      7       3.2s
slow-co…   bb:8080   good-1     closed   -      0          -
`},
		"two clients of one workload": {two, Filter{}, Style{}, `
CLIENT          SERVICE        ENDPOINT                  STATE       CAUSE                                 FAILURES   NEXT PROBE IN   EJECTED
slow-cooker-2   custom         10.0.0.1:80               half-open   late                                         0             now        0%
slow-cooker-1   bb.demo:8080   bad-1 (127.0.1.2:8080)    open        7 failures in a row, the last a 500          7            3.2s       50%
slow-cooker-1   bb.demo:8080   good-1 (127.0.1.3:8080)   closed      -                                            0               -       50%
`},
		"another service": {two, Filter{Service: "aa"}, Style{}, "\nNo breakers: no proxy has called a service yet.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), text(t, ListOf(now, tc.reports, tc.filter), tc.style)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A service without a breaker is not shown as one whose breaker is closed; an
// endpoint that is still kept out is shown as that.
func TestOff(t *testing.T) {
	r := state(tripped())
	r[0].Off = map[string]bool{bb: true}
	got := ListOf(now, r, Filter{})
	if got.Breakers[0].State != Open || got.Breakers[1].State != Off {
		t.Errorf("states %s and %s, want open and off", got.Breakers[0].State, got.Breakers[1].State)
	}
}

func TestColor(t *testing.T) {
	got := text(t, ListOf(now, state(tripped()), Filter{}), Style{Color: true})
	for _, want := range []string{"\x1b[31mopen\x1b[0m  ", "\x1b[32mclosed\x1b[0m"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%q", want, got)
		}
	}
}

func TestNextProbe(t *testing.T) {
	for _, tc := range []struct {
		state State
		left  time.Duration
		want  string
	}{
		{Closed, time.Second, "-"},
		{HalfOpen, time.Second, "now"},
		{Open, -time.Second, "now"},
		{Open, 0, "now"},
		{Open, 90 * time.Millisecond, "0.1s"},
		{Open, 9949 * time.Millisecond, "9.9s"},
		{Open, 75 * time.Second, "1m15s"},
	} {
		until := now.Add(tc.left)
		if got := (Breaker{State: tc.state, Until: &until}).nextProbe(now); got != tc.want {
			t.Errorf("%s for %s: %q, want %q", tc.state, tc.left, got, tc.want)
		}
	}
	if got := (Breaker{State: Open}).nextProbe(now); got != "-" {
		t.Errorf("open without an end: %q, want -", got)
	}
}

func TestControlCharactersStayOffTheTerminal(t *testing.T) {
	c := tripped()
	c.Endpoints[1].Cause = "\x1b[2Jgone\n"
	if got := text(t, ListOf(now, state(c), Filter{}), Style{}); strings.ContainsRune(got, '\x1b') || strings.Count(got, "\n") != 3 {
		t.Errorf("control characters came through: %q", got)
	}
}

func TestListJSON(t *testing.T) {
	c := tripped()
	c.Endpoints = c.Endpoints[1:]
	got, err := json.Marshal(ListOf(now, state(c), Filter{}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"at":"2027-01-15T08:00:00Z","breakers":[{` +
		`"client":{"node":"slow-cooker-1.demo","namespace":"demo","workload":"slow-cooker","kind":"Deployment","pod":"slow-cooker-1"},` +
		`"service":{"namespace":"demo","name":"bb","port":"8080"},"cluster":"outbound|8080||bb.demo.svc.cluster.local",` +
		`"endpoint":{"address":"127.0.1.2:8080","namespace":"demo","workload":"bad","pod":"bad-1"},` +
		`"state":"open","cause":"7 failures in a row, the last a 500","consecutive_failures":7,"until":"2027-01-15T08:00:03.25Z",` +
		`"ejections":1,"ejected_percent":50,"waiting_requests":2}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	empty, err := json.Marshal(ListOf(now, nil, Filter{}))
	if err != nil || !strings.Contains(string(empty), `"breakers":[]`) {
		t.Errorf("an empty list is %s, %v", empty, err)
	}
}

func opening() *reportv1.Event {
	return &reportv1.Event{
		Time: timestamppb.New(now), Cluster: bb, Endpoint: "127.0.1.2:8080", Labels: labelled("bad"),
		From: reportv1.State_CLOSED, To: reportv1.State_OPEN, Cause: "consecutive_failures", Detail: "7 failures in a row",
		Until: timestamppb.New(now.Add(1234 * time.Millisecond)),
		LastRequests: []*reportv1.Request{
			{Time: timestamppb.New(now.Add(-200 * time.Millisecond)), Status: 200, GrpcStatus: 14, Latency: durationpb.New(1234567), Outcome: "response"},
			{Time: timestamppb.New(now), Latency: durationpb.New(time.Second), Outcome: "connect timeout"},
		},
	}
}

func TestEvents(t *testing.T) {
	closing := &reportv1.Event{
		Time: timestamppb.New(now.Add(1300 * time.Millisecond)), Cluster: bb, Endpoint: "127.0.1.2:8080", Labels: labelled("bad"),
		From: reportv1.State_HALF_OPEN, To: reportv1.State_CLOSED, Cause: "probe_succeeded",
	}
	refused := &reportv1.Event{
		Time: timestamppb.New(now.Add(2 * time.Second)), Cluster: bb, Endpoint: "127.0.1.3:8080", Labels: labelled("good"),
		From: reportv1.State_CLOSED, To: reportv1.State_CLOSED, Cause: "max_ejection", Detail: "10% of 2 endpoints may be ejected", Refused: true,
	}
	var b strings.Builder
	w := &EventWriter{W: &b, Wide: true}
	if err := w.Header(); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*reportv1.Event{opening(), closing, refused} {
		ev, ok := EventOf(client("slow-cooker-1"), e, Filter{Namespace: "demo", Service: "bb"})
		if !ok {
			t.Fatal("the filter left out an event of its own service")
		}
		if err := w.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Lost(3); err != nil {
		t.Fatal(err)
	}
	want := `
TIME           CLIENT         SERVICE          ENDPOINT                     CHANGE                CAUSE
08:00:00.000   slow-cooker    bb.demo:8080     bad-1 (127.0.1.2:8080)       closed -> open        7 failures in a row; next probe in 1.2s
       200ms before: status 200 grpc-status 14 (Unavailable) response after 1.23ms
          0s before: connect timeout after 1s
08:00:01.300   slow-cooker    bb.demo:8080     bad-1 (127.0.1.2:8080)       half-open -> closed   probe_succeeded
08:00:02.000   slow-cooker    bb.demo:8080     good-1 (127.0.1.3:8080)      stays closed          10% of 2 endpoints may be ejected
    (3 events were lost here)
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestEventFilter(t *testing.T) {
	for _, f := range []Filter{{Namespace: "other"}, {Service: "other"}} {
		if _, ok := EventOf(Client{}, opening(), f); ok {
			t.Errorf("%+v lets an event of bb.demo through", f)
		}
	}
}

func TestServiceOf(t *testing.T) {
	for in, want := range map[string]Service{
		bb:                             {Namespace: "demo", Name: "bb", Port: "8080"},
		"outbound|80||bb":              {Name: "bb", Port: "80"},
		"outbound|80|v1|bb.demo.svc.x": {Namespace: "demo", Name: "bb", Port: "80", Subset: "v1"},
		bb + "|via|cc.demo":            {Namespace: "demo", Name: "bb", Port: "8080", Via: "cc.demo"},
		"inbound|8080||":               {Name: "inbound|8080||"},
		"custom":                       {Name: "custom"},
		"":                             {},
	} {
		if got := ServiceOf(in); got != want {
			t.Errorf("%q is %+v, want %+v", in, got, want)
		}
	}
}

func FuzzServiceOf(f *testing.F) {
	f.Add(bb)
	f.Add("||||")
	f.Fuzz(func(t *testing.T, s string) {
		if got := ServiceOf(s); s != "" && got.Name == "" {
			t.Errorf("%q has no name: %+v", s, got)
		}
	})
}

// What is known beforehand makes the header fit too.
func TestFit(t *testing.T) {
	e := opening()
	e.Cluster = "outbound|8080||a-service-with-a-long-name.a-namespace-too.svc.cluster.local"
	ev, _ := EventOf(client("slow-cooker-1"), e, Filter{})
	var b strings.Builder
	w := &EventWriter{W: &b}
	w.Fit(ev)
	if err := w.Header(); err != nil {
		t.Fatal(err)
	}
	if err := w.Event(ev); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if at := strings.Index(lines[0], "CAUSE"); at != strings.Index(lines[1], "7 failures") {
		t.Errorf("the columns do not align:\n%s", &b)
	}
}

// Endpoints of services without a breaker do not hide those that have one; where
// there are no others they are shown.
func TestWithoutBreaker(t *testing.T) {
	off := Breaker{Client: Client{Node: "a", Workload: "a"}, Service: Service{Name: "db"}, Endpoint: Endpoint{Address: "127.0.0.1:5432"}, State: Off}
	open := off
	open.Service.Name, open.State = "bb", Open
	l := List{Breakers: []Breaker{off, open, off}}
	if got := text(t, l, Style{}); strings.Contains(got, "db") || !strings.HasSuffix(got, "\n2 more without a breaker (--all)\n") {
		t.Errorf("shown:\n%s", got)
	}
	if got := text(t, l, Style{All: true}); strings.Count(got, "db") != 2 || strings.Contains(got, "more") {
		t.Errorf("all:\n%s", got)
	}
	if got := text(t, List{Breakers: []Breaker{off}}, Style{}); !strings.Contains(got, "db") {
		t.Errorf("no other:\n%s", got)
	}
}
