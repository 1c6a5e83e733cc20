package local

import (
	"context"
	"time"
)

// Back-off between the starts of a program that ends: the first one, twice as
// long after each further end, at most the last. A run of goodRun starts anew.
const (
	firstBackoff = time.Second
	lastBackoff  = 30 * time.Second
	goodRun      = 30 * time.Second
)

// child is one program that is kept running.
type child struct {
	name     string // as in messages: container name or "sidecar"
	launcher *launcher
	command  command
	out      *output
	// again tells whether the program is started again after an end with
	// success (true) or failure (false).
	again func(ok bool) bool
	// changed is called after each start and each end, from run's goroutine.
	changed func(childState)
	grace   func() time.Duration // between SIGTERM and SIGKILL, asked when it ends
}

// childState is what became of a child.
type childState struct {
	running  bool
	pid      int
	starts   int           // 1 after the first start
	ok       bool          // after an end: with status 0
	status   string        // after an end: "exit status 3", "signal: killed", or why it could not be started
	restart  time.Duration // after an end: until the next start; 0 when there is none
	lastSaid []string      // after an end: its last lines
}

// run keeps the program running until ctx ends, then ends it. It returns when
// nothing of it is left, earlier when the program has ended and is not to be
// started again.
func (c *child) run(ctx context.Context) {
	backoff := firstBackoff
	for starts := 1; ctx.Err() == nil; starts++ {
		began := time.Now()
		c.out.forget()
		p, err := c.launcher.start(ctx, c.command, c.out)
		state := childState{starts: starts}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			state.status = err.Error()
		} else {
			c.changed(childState{running: true, pid: p.cmd.Process.Pid, starts: starts})
			select {
			case <-p.ended:
			case <-ctx.Done():
				p.stop(c.grace(), c.launcher.kill)
				return
			}
			state.status, state.ok, state.lastSaid = p.status, p.ok, c.out.last(shownLines)
		}
		if !c.again(state.ok) {
			c.changed(state)
			return
		}
		if time.Since(began) >= goodRun {
			backoff = firstBackoff
		}
		state.restart = backoff
		c.changed(state)
		if !sleep(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// sleep waits for d, or less if ctx ends, in which case it returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
