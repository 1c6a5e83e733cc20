package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// failFast is Linkerd's fail-fast time, and ours by default.
	failFast = 3 * time.Second
	// knockFor is long enough to see the fail-fast time pass.
	knockFor   = failFast + 2*time.Second
	knockEvery = 200 * time.Millisecond
	// atOnce is the longest that an answer at once takes, and lateness what a
	// busy machine may add to a wait.
	atOnce   = 100 * time.Millisecond
	lateness = 500 * time.Millisecond
)

// FailFast is how callers fared while every endpoint was open.
type FailFast struct {
	// Waited were refused after they had waited, AtOnce without a wait, and
	// Probes were let through to see whether an endpoint is well again.
	Waited, AtOnce, Probes, Other int
	// LongestWait of any refusal.
	LongestWait time.Duration `json:"longest_wait_ns"`
	// Reason is the header recloser-reason of the refusals, Status their status.
	Status int
	Reason string
}

func (f FailFast) String() string {
	return fmt.Sprintf("of %d calls %d waited (the longest %s) and %d were refused at once, with %d %s; %d were probes",
		f.Waited+f.AtOnce+f.Probes+f.Other, f.Waited, f.LongestWait.Round(10*time.Millisecond), f.AtOnce, f.Status, f.Reason, f.Probes)
}

func (f FailFast) met() bool {
	return f.AtOnce > 0 && f.Other == 0 && f.LongestWait <= failFast+lateness && f.Status == http.StatusServiceUnavailable
}

// knock calls bb through a sidecar, as the workload beside it would.
func knock(ctx context.Context, sidecar string, show *Show) (FailFast, error) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var f FailFast
	var mu sync.Mutex
	var calls sync.WaitGroup
	tick := time.NewTicker(knockEvery)
	defer tick.Stop()
	for end := time.Now().Add(knockFor); time.Now().Before(end); {
		calls.Go(func() {
			begin := time.Now()
			status, reason, err := call(ctx, client, sidecar)
			mu.Lock()
			defer mu.Unlock()
			f.add(status, reason, err, time.Since(begin))
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			calls.Wait()
			return f, ctx.Err()
		}
		show.Status(fmt.Sprintf("calling bb through slow-cooker's sidecar, %s left", time.Until(end).Round(time.Second)))
	}
	calls.Wait()
	return f, nil
}

func (f *FailFast) add(status int, reason string, err error, took time.Duration) {
	switch {
	case err != nil:
		f.Other++
	case status == http.StatusServiceUnavailable && reason != "":
		f.Status, f.Reason = status, reason
		f.LongestWait = max(f.LongestWait, took)
		if took <= atOnce {
			f.AtOnce++
		} else {
			f.Waited++
		}
	default:
		f.Probes++
	}
}

func call(ctx context.Context, client *http.Client, sidecar string) (status int, reason string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+sidecar+"/", nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = "bb:8080"
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, resp.Header.Get("recloser-reason"), nil
}
