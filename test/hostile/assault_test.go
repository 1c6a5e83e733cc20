package hostile

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// outcome is what the proxy did to a connection.
type outcome struct {
	goAway   bool
	code     http2.ErrCode // of the first GOAWAY that has one
	debug    string
	closed   bool // by the proxy
	resets   map[uint32]http2.ErrCode
	statuses map[uint32]string // of answers
	sent     int               // rounds of the attack
}

// An assault is what is sent on one connection.
type assault struct {
	settings []http2.Setting
	// round is called over and over until the proxy has closed the connection,
	// rounds of them were sent, or it fails.
	round  func(c *peer.Conn, i int) error
	rounds int // default 300,000
	// deaf peers read only once they have sent everything.
	deaf bool
	// settled ends the connection once the rounds are over and enough was
	// heard; nil: only the proxy ends it.
	settled func(o *outcome) bool
}

// strike makes so many connections at a time, and gives what became of each.
func (a *arena) strike(conns int, as assault) []outcome {
	a.t.Helper()
	outcomes := make([]outcome, conns)
	errs := make([]error, conns)
	var all sync.WaitGroup
	for i := range conns {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(a.t.Context(), mesh.Patience)
			defer cancel()
			c, err := peer.Dial(ctx, a.addr, as.settings...)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			// All begin as they should.
			if errs[i] = c.Settle(time.Now().Add(mesh.Patience)); errs[i] == nil {
				outcomes[i] = as.run(c)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		a.t.Fatal(err)
	}
	return outcomes
}

// run is the assault on one connection.
func (as *assault) run(c *peer.Conn) outcome {
	o := outcome{resets: make(map[uint32]http2.ErrCode), statuses: make(map[uint32]string)}
	rounds := as.rounds
	if rounds == 0 {
		rounds = 300_000
	}
	begin, heard := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heard)
		<-begin
		o.listen(c, as.settled)
	}()
	if !as.deaf {
		close(begin)
	}
	sent := 0
	// A proxy that does not read is as good as one that closes: what is asked
	// of it is that it does not keep what it is sent.
	deadline := time.Now().Add(mesh.Patience / 3)
	for ; sent < rounds; sent++ {
		if err := c.SetWriteDeadline(deadline); err != nil {
			break
		}
		if as.round(c, sent) != nil {
			break
		}
	}
	if as.deaf {
		close(begin)
	}
	<-heard
	o.sent = sent
	return o
}

// listen hears the proxy out, until it closes, or all is settled.
func (o *outcome) listen(c *peer.Conn, settled func(*outcome) bool) {
	o.listenWith(c, settled, func(http2.Frame) {})
}

// listenWith gives each frame to heard as well.
func (o *outcome) listenWith(c *peer.Conn, settled func(*outcome) bool, heard func(http2.Frame)) {
	deadline := time.Now().Add(mesh.Patience)
	for settled == nil || !settled(o) {
		f, err := c.Read(deadline)
		if err != nil {
			if _, ok := errors.AsType[http2.StreamError](err); ok {
				continue // what we hear badly is no matter here
			}
			o.closed = !errors.Is(err, os.ErrDeadlineExceeded)
			return
		}
		heard(f)
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			o.goAway = true
			if o.code == http2.ErrCodeNo {
				o.code, o.debug = f.ErrCode, string(f.DebugData())
			}
		case *http2.RSTStreamFrame:
			o.resets[f.StreamID] = f.ErrCode
		case *http2.MetaHeadersFrame:
			o.statuses[f.StreamID] = f.PseudoValue("status")
		}
	}
}

// mustClose fails unless the proxy closed each connection and said one of the
// codes before it did.
func mustClose(t *testing.T, outcomes []outcome, codes ...http2.ErrCode) {
	t.Helper()
	for i, o := range outcomes {
		if !o.closed || !o.goAway || !slices.Contains(codes, o.code) {
			t.Errorf("connection %d, after %d rounds: closed %v, GOAWAY %v with %v %q; want it closed with %v",
				i, o.sent, o.closed, o.goAway, o.code, o.debug, codes)
			continue
		}
		t.Logf("closed after %d rounds: %v %q", o.sent, o.code, o.debug)
	}
}
