package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/breaker"
)

// Guard a function: after three failures in a row it is not called any more,
// until a try a second later succeeds.
func ExampleBreaker_Do() {
	cfg := breaker.LinkerdConsecutive()
	cfg.Detectors.Consecutive.Failures = 3
	cfg.Recovery.Jitter = 0

	now := time.Duration(0) // leave Options empty to use the real clock
	b, err := breaker.New("ledger", cfg, breaker.Options{
		Clock: func() time.Duration { return now },
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	healthy := false
	charge := func(context.Context) error {
		if !healthy {
			return errors.New("ledger is down")
		}
		return nil
	}
	for range 4 {
		fmt.Println(b.Do(context.Background(), charge))
	}
	now, healthy = time.Second, true
	fmt.Println(b.Do(context.Background(), charge), b.State())
	// Output:
	// ledger is down
	// ledger is down
	// ledger is down
	// ledger: breaker is open: 3 failures in a row, limit 3; next try in 1s
	// <nil> closed
}

// transport guards each host that an http.Client calls with a breaker of its
// own.
type transport struct {
	next    http.RoundTripper
	cfg     breaker.Config
	options breaker.Options

	mu    sync.Mutex
	hosts map[string]*breaker.Breaker
}

func (t *transport) breaker(host string) (*breaker.Breaker, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.hosts[host]; b != nil {
		return b, nil
	}
	b, err := breaker.New(host, t.cfg, t.options)
	if err == nil {
		t.hosts[host] = b
	}
	return b, err
}

func (t *transport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	b, err := t.breaker(req.URL.Host)
	if err != nil {
		return nil, err
	}
	err = b.DoResult(req.Context(), func(ctx context.Context) (breaker.Result, error) {
		resp, err = t.next.RoundTrip(req)
		if err != nil {
			return breaker.ResultOf(ctx, err), err
		}
		return breaker.Result{Status: resp.StatusCode}, nil
	})
	return resp, err
}

// Guard an http.Client: copy the type transport above. A host that answers 503
// five times is left alone; the caller can tell by errors.Is and errors.As.
func Example_httpClient() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()

	cfg := breaker.LinkerdConsecutive()
	cfg.Detectors.Consecutive.Failures = 5
	client := &http.Client{Transport: &transport{
		next:  http.DefaultTransport,
		cfg:   cfg,
		hosts: map[string]*breaker.Breaker{},
	}}

	for i := range 6 {
		resp, err := client.Get(server.URL)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			fmt.Println(i+1, resp.Status)
			continue
		}
		var open *breaker.OpenError
		fmt.Println(i+1, errors.Is(err, breaker.ErrOpen), errors.As(err, &open))
		fmt.Println(open.Detail)
	}
	// Output:
	// 1 503 Service Unavailable
	// 2 503 Service Unavailable
	// 3 503 Service Unavailable
	// 4 503 Service Unavailable
	// 5 503 Service Unavailable
	// 6 true true
	// 5 failures in a row, limit 5
}

// Balance over several endpoints, as a proxy does: ask the next that is ready,
// report what became of the call, and hear why an endpoint was taken out.
func ExampleGroup() {
	now := time.Duration(0)
	cfg := breaker.LinkerdConsecutive()
	cfg.Recovery.Jitter = 0
	g := breaker.NewGroup(cfg, breaker.Options{
		Clock: func() time.Duration { return now },
		OnEvent: func(ev breaker.Event) {
			fmt.Printf("%v %s: %v to %v: %s\n", ev.At, ev.Endpoint, ev.From, ev.To, ev.Detail)
		},
	})
	endpoints := []*breaker.Endpoint{g.Add("10.0.0.1:8080"), g.Add("10.0.0.2:8080")}

	status := map[string]int{"10.0.0.1:8080": 200, "10.0.0.2:8080": 500}
	turn := 0
	call := func() {
		for range endpoints {
			turn++
			e := endpoints[turn%len(endpoints)]
			if p, ok := e.Acquire(now); ok {
				p.Done(now, breaker.Result{Status: status[e.Name()]})
				return
			}
		}
	}
	for range 100 { // ten seconds at ten calls a second
		call()
		now += 100 * time.Millisecond
		if now == 4*time.Second {
			status["10.0.0.2:8080"] = 200
		}
	}
	// Output:
	// 1.2s 10.0.0.2:8080: closed to open: 7 failures in a row, limit 7
	// 2.2s 10.0.0.2:8080: open to half_open: back-off of 1s over, probe 1
	// 2.2s 10.0.0.2:8080: half_open to open: probe failed: status 500; out for another 2s
	// 4.2s 10.0.0.2:8080: open to half_open: back-off of 2s over, probe 2
	// 4.2s 10.0.0.2:8080: half_open to closed: probe succeeded: status 200; out for 3s
}

// Retries within a budget: one for five requests, and ten in a second.
func ExampleRetryBudget() {
	budget := breaker.NewRetryBudget(breaker.DefaultRetryBudget())
	now := breaker.Monotonic()
	retried := 0
	for range 1000 { // all of them fail
		budget.Deposit(now)
		if budget.TryWithdraw(now) {
			retried++
		}
	}
	fmt.Println(retried, "retries of 1000 requests")
	// Output: 300 retries of 1000 requests
}
