package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file moves opaque bytes. A direction that is quiet holds no buffer. What
// fills a buffer at one go is taken for the begin of more, and is moved by the
// kernel (splice on Linux) as long as it flows; since the kernel tells of that
// only at the end, the sweeper breaks it off once a second, for the counters
// and the bound on idle time.

const (
	// bulkMost is the most that the kernel moves before it tells.
	bulkMost = 64 << 20
	// nudgeAfter is the number of ticks after which it is asked.
	nudgeAfter = 10
)

// flow is one direction.
type flow struct {
	c        *tcpConn
	from, to *listener.Conn
	buf      *buffer
	take     func() []byte
	put      func([]byte)
	onRead   func(n int) // counts, and judges
	onWrote  func(n int)
	lost     func(reading bool) // what an error means

	bytes atomic.Int64
	bulk  atomic.Uint64 // tick at which the kernel began to move, plus 1; 0: it does not
}

// join moves bytes both ways until both have ended, or one broke.
func (c *tcpConn) join() telemetry.Reason {
	up := listener.NewConn(c.up.Conn)
	ours, theirs := c.srv.cfg.Metrics, c.endpoint.Metrics()
	c.there.init(c, c.down, up)
	c.there.onRead, c.there.onWrote = ours.BytesRead, theirs.BytesWritten
	c.there.lost = c.lost
	c.back.init(c, up, c.down)
	c.back.onWrote = ours.BytesWritten
	c.back.onRead = func(n int) {
		theirs.BytesRead(n)
		c.hear()
	}
	c.back.lost = func(reading bool) { c.lost(!reading) }

	var wg sync.WaitGroup
	sent := false
	wg.Go(func() {
		if len(c.early) > 0 {
			c.there.onRead(len(c.early))
			if !c.there.write(c.early) {
				return
			}
			c.early = nil
		}
		sent = c.there.run()
	})
	answered := c.back.run()
	if answered {
		c.hear() // it ended in order
	}
	wg.Wait()
	if sent && answered {
		return telemetry.ViaUpstream // whatever came in the last moment
	}
	return c.interrupted()
}

// hear notes a sign of life of the endpoint.
func (c *tcpConn) hear() {
	c.heard.Store(true)
	c.settle(breaker.Response)
}

// lost notes that one side broke.
func (c *tcpConn) lost(downstream bool) {
	switch {
	case downstream:
		c.went(telemetry.DownstreamGone)
	case c.heard.Load():
		c.went(telemetry.ConnectionLostMidway)
	default:
		if c.interrupted() == telemetry.ViaUpstream {
			c.settle(breaker.Reset)
		}
		c.went(telemetry.ConnectionLost)
	}
}

func (f *flow) init(c *tcpConn, from, to *listener.Conn) {
	f.c, f.from, f.to = c, from, to
	f.take = func() []byte {
		f.buf = c.srv.buffers.Get().(*buffer)
		return f.buf.b
	}
	f.put = func([]byte) {
		c.srv.buffers.Put(f.buf)
		f.buf = nil
	}
}

// run moves until from ends, and then ends to's half. False: it broke.
func (f *flow) run() bool {
	for {
		n, err := f.once()
		reading := true
		if n == bufferSize && err == nil {
			reading, err = f.splice()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return f.end()
		case errors.Is(err, errWrite):
			return false
		case isInterrupt(err) && f.resume():
		default:
			f.broke(err, reading)
			return false
		}
	}
}

// errWrite says that writing failed, which was noted.
var errWrite = errors.New("the other side does not take it")

// once moves what one read gives.
func (f *flow) once() (n int, err error) {
	b, err := f.from.ReadInto(f.take, f.put)
	if len(b) > 0 {
		f.c.touch()
		f.onRead(len(b))
		if !f.write(b) {
			err = errWrite
		}
	}
	if f.buf != nil {
		f.put(nil)
	}
	return len(b), err
}

// write writes all of b.
func (f *flow) write(b []byte) bool {
	n, err := f.to.Write(b)
	f.moved(n)
	if err != nil {
		f.broke(err, false)
	}
	return err == nil
}

func (f *flow) moved(n int) {
	f.bytes.Add(int64(n))
	f.onWrote(n)
	f.c.touch()
}

// end passes the end of one direction on. The other goes on, unless the
// transport cannot close a half.
func (f *flow) end() bool {
	half, ok := f.to.Conn.(interface{ CloseWrite() error })
	if !ok {
		f.c.closing.Store(true)
		f.c.interrupt()
		return true
	}
	if err := half.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
		f.broke(err, false)
		return false
	}
	return true
}

// resume goes on after a nudge; false: it was no nudge.
func (f *flow) resume() bool {
	if f.c.stopping() {
		return false
	}
	f.from.ResumeRead()
	if f.c.stopping() { // just now
		f.c.interrupt()
	}
	return true
}

// broke notes an error, unless it is our own interruption.
func (f *flow) broke(err error, reading bool) {
	if isInterrupt(err) && f.c.stopping() {
		return
	}
	f.lost(reading)
}

// splice has the kernel move what flows, until it pauses at a nudge. io.EOF: it
// has ended. Of another error, reading tells whose it is.
func (f *flow) splice() (reading bool, err error) {
	from, ok := f.from.Conn.(*net.TCPConn)
	to, ok2 := f.to.Conn.(*net.TCPConn)
	if !ok || !ok2 {
		return true, nil
	}
	f.bulk.Store(f.c.srv.tick.Load() + 1)
	n, err := to.ReadFrom(&io.LimitedReader{R: from, N: bulkMost})
	f.bulk.Store(0)
	if n > 0 {
		f.onRead(int(n))
		f.moved(int(n))
	}
	if err == nil && n < bulkMost {
		return true, io.EOF
	}
	// The error does not name the side. A socket that was reset has ended.
	return err == nil || isInterrupt(err) || f.from.Broken() || !f.to.Broken(), err
}

// flowing tells whether the kernel moves bytes and could not be asked yet. One
// that does not answer a nudge waits for the receiver.
func (f *flow) flowing(tick uint64) bool {
	since := f.bulk.Load()
	return since != 0 && tick+1-since < 2*nudgeAfter
}

// nudge makes the kernel tell. Called by the sweeper.
func (f *flow) nudge(tick uint64) {
	if since := f.bulk.Load(); since != 0 && tick+1-since >= nudgeAfter {
		f.from.InterruptRead()
	}
}
