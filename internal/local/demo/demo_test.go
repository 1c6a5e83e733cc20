package demo

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tutorial is a result with the tutorial's own figures.
func tutorial() Result {
	return Result{
		Before:         Figures{Success: new(.51), BadRPS: 4.7},
		After:          Figures{Success: new(.9983), BadRPS: 0.3},
		RecoveredAfter: time.Second,
		Recovered:      Figures{BadRPS: 5},
		FailFast:       FailFast{Waited: 3, AtOnce: 9, LongestWait: 3 * time.Second, Status: 503, Reason: "no_healthy_upstream"},
	}
}

func TestJudge(t *testing.T) {
	r := tutorial()
	if r.judge(); !r.Met {
		t.Fatalf("the tutorial's own figures do not meet themselves: %+v", r.Checks)
	}
	for name, spoil := range map[string]func(*Result){
		"no bad endpoint":        func(r *Result) { r.Before.Success = new(1.0) },
		"nothing sent":           func(r *Result) { r.After.Success = nil },
		"the breaker leaks":      func(r *Result) { r.After.Success = new(.99) },
		"bad still gets calls":   func(r *Result) { r.After.BadRPS = 0.5 },
		"no recovery":            func(r *Result) { r.RecoveredAfter = 0 },
		"recovered, not used":    func(r *Result) { r.Recovered.BadRPS = 0 },
		"callers wait too long":  func(r *Result) { r.FailFast.LongestWait = 4 * time.Second },
		"no refusal at once":     func(r *Result) { r.FailFast.AtOnce = 0 },
		"calls fail some way":    func(r *Result) { r.FailFast.Other = 1 },
		"refused in another way": func(r *Result) { r.FailFast.Status = 502 },
	} {
		r := tutorial()
		spoil(&r)
		if r.judge(); r.Met {
			t.Errorf("%s: the figures are met", name)
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil || strings.Count(b.String(), "×") != 1 {
			t.Errorf("%s: the closing table does not show one failure:\n%s", name, b.String())
		}
	}
}

func TestKnockSortsAnswers(t *testing.T) {
	var f FailFast
	f.add(503, "no_healthy_upstream", nil, 2*time.Second)
	f.add(503, "no_healthy_upstream", nil, time.Millisecond)
	f.add(500, "", nil, time.Millisecond)
	f.add(0, "", errors.New("reset"), time.Millisecond)
	want := FailFast{Waited: 1, AtOnce: 1, Probes: 1, Other: 1, LongestWait: 2 * time.Second, Status: 503, Reason: "no_healthy_upstream"}
	if f != want {
		t.Errorf("%+v, want %+v", f, want)
	}
}

func TestCallGoesThroughTheSidecar(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("recloser-reason", r.Host)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	status, reason, err := call(t.Context(), c, s.Listener.Addr().String())
	if status != 503 || reason != "bb:8080" || err != nil {
		t.Errorf("%d %q %v, want the refusal for host bb:8080", status, reason, err)
	}
}

// fakeMesh tells the events that it is given.
type fakeMesh struct{ lines chan breakers.Line }

func (m *fakeMesh) Stat(context.Context, stat.Request) (*stat.Table, error) {
	return &stat.Table{}, nil
}

func (m *fakeMesh) Annotate(context.Context, observe.Annotation) (*observe.Annotated, error) {
	return &observe.Annotated{}, nil
}

func (m *fakeMesh) Events(ctx context.Context, _ breakers.Filter, _ bool, put func(breakers.Line) error) error {
	for {
		select {
		case l := <-m.lines:
			if err := put(l); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func event(workload string, to breakers.State) breakers.Line {
	return breakers.Line{Event: &breakers.Event{To: to, Endpoint: breakers.Endpoint{Workload: workload}}}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := &fakeMesh{lines: make(chan breakers.Line)}
		d := &demo{Config: Config{Mesh: m, Show: NewShow(&bytes.Buffer{}, nil)}, more: make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.follow(ctx)
		}()
		opened := func(e breakers.Event) bool { return e.To == breakers.Open && workload(e) == bad }

		go func() {
			m.lines <- event(good, breakers.Open)
			m.lines <- event(bad, breakers.HalfOpen)
			m.lines <- event(bad, breakers.Open)
		}()
		if e, err := d.await(ctx, "bad", opened); err != nil || workload(e) != bad {
			t.Fatalf("%+v, %v", e, err)
		}
		// The same event is not seen twice, and waiting ends.
		begin := time.Now()
		if _, err := d.await(ctx, "bad again", opened); !errors.Is(err, errNotSeen) || time.Since(begin) != patience {
			t.Errorf("%v after %s, want %v after %s", err, time.Since(begin), errNotSeen, patience)
		}
		// forget passes over what has come meanwhile.
		m.lines <- event(bad, breakers.Open)
		synctest.Wait()
		d.forget()
		if _, err := d.await(ctx, "bad again", opened); !errors.Is(err, errNotSeen) {
			t.Errorf("%v: an old event was seen", err)
		}
		if n := d.count(func(e breakers.Event) bool { return e.To == breakers.HalfOpen }); n != 1 {
			t.Errorf("%d probes counted, want 1", n)
		}
		cancel()
		<-done
	})
}

func TestShowOnATerminalTakesMovingFiguresAway(t *testing.T) {
	var b bytes.Buffer
	s := NewShow(&b, func() int { return 20 })
	s.Redraw("waiting for something that is long in coming", &stat.Table{})
	for l := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > 20 {
			t.Errorf("a moving line has %d columns of 20: it takes two rows, and one is taken away", n)
		}
	}
	before := b.Len()
	s.Note("done")
	if got := b.String()[before:]; !strings.HasPrefix(got, "\x1b[") || !strings.Contains(got, "A\x1b[J") {
		t.Errorf("the note is written below the old figures: %q", got)
	}
	b.Reset()
	NewShow(&b, nil).Redraw("waiting", nil)
	if b.Len() != 0 {
		t.Errorf("moving figures in a pipe: %q", b.String())
	}
}

func TestManifestHasTheTutorialsObjects(t *testing.T) {
	for _, want := range []string{
		"name: circuit-breaking-demo", "image: buoyantio/bb:v0.0.6", `"--percent-failure=100"`,
		"/slow_cooker/slow_cooker --qps 10 http://bb:8080",
	} {
		if !bytes.Contains(Manifest, []byte(want)) {
			t.Errorf("the manifest lacks %q", want)
		}
	}
}
