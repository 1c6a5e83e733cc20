package proxy

import (
	"sync"
	"time"

	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is the two bounds of a route that are neither on the whole exchange
// nor on a try: the time without a byte (IdleTimeout), and the time that the
// answer may take once the request has gone out (ResponseTimeout).

// idleBound is what the route says of the time without a byte. 0: nothing, and
// the listener's bound holds; negative: there is none.
func (x *exchange) idleBound() time.Duration {
	if x.action == nil {
		return 0
	}
	return x.action.IdleTimeout
}

// idleOr is the bound that holds: idle, where the route says something.
func idleOr(idle int64, otherwise time.Duration) time.Duration {
	if idle == 0 {
		return otherwise
	}
	return max(time.Duration(idle), 0)
}

// requestSent begins the time that the answer may take; all of the request has
// gone out. It gives that time, 0 where there is no bound.
func (x *exchange) requestSent() time.Duration {
	d := x.action.ResponseTimeout
	if x.req.Upgrade != nil || x.req.Connect {
		return 0
	}
	if d > 0 {
		x.answerBy.Store(int64(x.srv.clock() + d))
	}
	return d
}

// slow tells whether the answer's time is over.
func (x *exchange) slow() bool {
	by := x.answerBy.Load()
	return by != 0 && x.srv.clock() >= time.Duration(by)
}

// alarm calls a function once. After stop it does not, nor is it doing so.
type alarm struct {
	timer *time.Timer

	mu      sync.Mutex
	stopped bool // guarded by mu, which is held while the function runs
}

func newAlarm(after time.Duration, f func()) *alarm {
	a := &alarm{}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(after, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.stopped {
			f()
		}
	})
	return a
}

func (a *alarm) stop() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer.Stop()
	a.stopped = true
}

// requestSent has the exchange interrupted when the answer's time is over. It is
// called by who has sent the last of the request.
func (c *conn) requestSent() {
	if d := c.x.requestSent(); d > 0 {
		c.x.alarm = newAlarm(d, c.interruptUpstream)
	}
}

// uploaded begins the time of a try whose request was uploaded; late is called
// when it is over. The head may come at the same time: whoever sees the other
// stops the alarm.
func (c *conn) uploaded(late func()) {
	d := c.x.boundTry()
	if d == 0 {
		return
	}
	a := newAlarm(d, func() {
		if !c.x.tries.headed.Load() {
			late()
		}
	})
	c.x.tryAlarm.Store(a)
	if c.x.tries.headed.Load() {
		c.x.tries.ends.Store(0)
		a.stop()
	}
}

// endAlarm makes sure that nobody is interrupted for an answer that is over.
func (c *conn) endAlarm() {
	if c.x.alarm != nil {
		c.x.alarm.stop()
		c.x.alarm = nil
	}
	if a := c.x.tryAlarm.Load(); a != nil {
		a.stop()
		c.x.tryAlarm.Store(nil)
	}
}

// headCame is exchange.headCame.
func (c *conn) headCame() {
	c.x.headCame()
	c.x.tryAlarm.Load().stop()
}

// cutAnswer ends the exchange because the answer's time is over.
func (st *stream) cutAnswer() {
	if st.x.slow() {
		st.cut(telemetry.RequestTimeout)
	}
}

// requestSent has the stream cut when the answer's time is over. mu is held.
func (st *stream) requestSent() {
	st.boundTry()
	if d := st.x.requestSent(); d > 0 {
		st.answerTimer = time.AfterFunc(d, st.cutAnswer)
	}
}

// sent is requestSent for a goroutine of the stream's own.
func (st *stream) sent() {
	if st.x.action.ResponseTimeout <= 0 && st.x.tries.policy == nil {
		return
	}
	st.mu.Lock()
	st.requestSent()
	st.mu.Unlock()
}

// stopAnswerTimer: mu is held.
func (st *stream) stopAnswerTimer() {
	if st.answerTimer != nil {
		st.answerTimer.Stop()
		st.answerTimer = nil
	}
}
