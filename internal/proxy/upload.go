package proxy

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// uploadState is how far the sending of a request's body has come.
type uploadState int32

const (
	uploadRunning   uploadState = iota
	uploadDone                  // all of it was sent
	uploadGone                  // the caller closed before its end
	uploadMalformed             // its framing is broken
	uploadRefused               // the endpoint took no more of it
)

// upload sends the part of a request's body that did not come with its head,
// in a goroutine of its own, because the endpoint may answer meanwhile. Until
// it ends, it owns the read side of the downstream connection.
type upload struct {
	state atomic.Int32
	done  chan struct{}
	// read is set when the caller's part is over: all of the body was read,
	// and what is left to do is at most one write.
	read atomic.Bool
	// writing is set while the endpoint is what it waits for, splicing while it
	// waits for either.
	writing, splicing atomic.Bool

	// For the connection's goroutine, once done is closed.
	left    []byte // read beyond the body's end, in buf
	buf     *buffer
	sent    int64
	failure error
	detail  string
}

// failed is the state if that is a failure of the caller's.
func (u *upload) failed() uploadState {
	if u == nil {
		return uploadDone
	}
	return uploadState(u.state.Load())
}

// starving tells whether it is the caller that keeps the upload waiting. Within
// a splice that is so unless more of the body is here than the endpoint takes.
func (c *conn) starving() bool {
	u := c.x.upload
	if u == nil || u.read.Load() || u.writing.Load() {
		return false
	}
	return !u.splicing.Load() || !c.down.HasInput()
}

// received tells whether all of the body came from the caller. A request
// without an upload had none, or it went along with the head. An endpoint that
// got all of it may well answer before the uploader has noticed that its last
// write is done.
func (u *upload) received() bool { return u == nil || u.read.Load() }

// startUpload sends the rest of the body on. The bytes that came with the head
// have been sent.
func (c *conn) startUpload() {
	u := &upload{done: make(chan struct{}), buf: c.srv.buffers.Get().(*buffer)}
	c.keepsBody(c.x.body)
	c.x.upload = u
	go func() {
		defer close(u.done)
		state := c.runUpload(u)
		u.state.Store(int32(state))
		if state == uploadDone {
			c.requestSent()
			c.uploaded(c.interruptUpstream)
		}
		if state == uploadGone || state == uploadMalformed {
			c.x.conn.Interrupt() // nobody needs the answer
		}
	}()
}

func (c *conn) runUpload(u *upload) uploadState {
	if c.req.Body.Kind == http1.BodyLength {
		return c.uploadLength(u, c.req.Body.Length-c.x.received)
	}
	for {
		n, err := c.down.Read(u.buf.b)
		if n == 0 {
			return readFailure(err)
		}
		k, done, err := c.chunk.req.Scan(u.buf.b[:n])
		if err != nil {
			u.detail = broken(err)
			return uploadMalformed
		}
		if done {
			u.left = u.buf.b[k:n]
			u.read.Store(true)
		}
		c.x.copyBody(u.buf.b[:k], done, nil)
		if !c.x.keep.add(u.buf.b[:k]) || !c.uploadPiece(u, u.buf.b[:k]) {
			return uploadRefused
		}
		if done {
			return uploadDone
		}
	}
}

func (c *conn) uploadLength(u *upload, left int64) uploadState {
	for left > 0 {
		if left >= spliceFrom && c.splices() && !c.x.keep.keeping() && c.x.copies == nil {
			// The last bytes are left to the loop below.
			u.splicing.Store(true)
			n, err := io.Copy(c.x.conn.Conn, &io.LimitedReader{R: c.down.Conn, N: min(left-bufferSize, splicePiece)})
			left -= n
			u.sent += n
			c.x.endpoint.Metrics().BytesWritten(int(n))
			c.enter(phaseStream)
			switch {
			case err == nil && n == 0:
				return uploadGone
			case err != nil:
				return c.spliceFailure(u, err)
			}
			u.splicing.Store(false)
			continue
		}
		n, err := c.down.Read(u.buf.b[:min(left, int64(len(u.buf.b)))])
		if n == 0 {
			return readFailure(err)
		}
		if left -= int64(n); left == 0 {
			u.read.Store(true)
		}
		c.x.copyBody(u.buf.b[:n], left == 0, nil)
		if !c.x.keep.add(u.buf.b[:n]) || !c.uploadPiece(u, u.buf.b[:n]) {
			return uploadRefused
		}
	}
	return uploadDone
}

func (c *conn) uploadPiece(u *upload, b []byte) bool {
	u.writing.Store(true)
	n, err := c.x.conn.Write(b)
	if err == nil { // else that stays what it waited for
		u.writing.Store(false)
	}
	u.sent += int64(n)
	c.x.endpoint.Metrics().BytesWritten(n)
	c.enter(phaseStream)
	u.failure = err
	return err == nil
}

// readFailure tells an interruption (of ours, or a bound that expired; the
// connection's goroutine knows more) from a caller that went away.
func readFailure(err error) uploadState {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return uploadRefused
	}
	return uploadGone
}

// spliceFailure finds out which of the two sides of a splice failed: a caller
// that is gone fails the next read as well.
func (c *conn) spliceFailure(u *upload, err error) uploadState {
	u.failure = err
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return uploadRefused
	}
	if c.down.Broken() {
		return uploadGone
	}
	return uploadRefused
}

func (c *conn) resumeUpstream() {
	if up := c.x.conn; up != nil {
		_ = up.SetDeadline(time.Time{})
	}
	if b := c.box.Load(); b != nil {
		b.resume()
	}
}

// endUpload stops the uploader and takes back the read side. True: the whole
// body was sent.
func (c *conn) endUpload() bool {
	x := &c.x
	u := x.upload
	if u == nil {
		return true
	}
	select {
	case <-u.done:
	default:
		c.down.InterruptRead()
		c.interruptUpstream()
		<-u.done
		// It may have been done but for noticing: then both go on.
		c.resumeUpstream()
		c.resume()
	}
	x.received += u.sent
	u.sent = 0 // it is asked twice where a tunnel follows
	if x.detail == "" {
		x.detail = u.detail
	}
	if !u.received() {
		x.closing = true
	}
	return uploadState(u.state.Load()) == uploadDone
}
