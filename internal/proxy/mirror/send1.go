package mirror

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// send1 sends the copy by HTTP/1.1 and reads the answer to its end.
func (c *copying) send1() error {
	conn, err := c.endpoint.Get(c.asked, c.deadline, true, c.done())
	if err != nil {
		return &unsentError{err}
	}
	_ = conn.SetDeadline(time.Now().Add(c.left()))
	stop := context.AfterFunc(c.sender.ctx, conn.Interrupt)
	again, err := c.exchange1(conn)
	if stop() && again && err == nil && conn.SetDeadline(time.Time{}) == nil {
		c.endpoint.Put(conn, c.sender.cfg.Clock())
	} else {
		c.endpoint.Discard(conn)
	}
	return err
}

// exchange1 is the exchange itself; again tells whether the connection is good
// for another.
func (c *copying) exchange1(conn *upstream.Conn) (again bool, err error) {
	n, err := conn.Write(c.compose1())
	c.endpoint.Metrics().BytesWritten(n)
	if err != nil && n == 0 && conn.Reused() {
		return false, errNoVerdict
	}
	// An endpoint that took no more of it may have answered all the same.
	a := answer1{copying: c, conn: conn, buf: make([]byte, 8<<10)}
	again, rerr := a.read()
	if err == nil {
		err = rerr
	}
	return again, err
}

// compose1 is the copy as bytes.
func (c *copying) compose1() []byte {
	v := c.req.view()
	out := bridge.AppendRequest1(make([]byte, 0, 1<<10+len(c.req.body)), &v, nil)
	if v.Body.Kind != http1.BodyChunked {
		return append(out, c.req.body...)
	}
	if n := len(c.req.body); n > 0 {
		out = append(strconv.AppendInt(out, int64(n), 16), "\r\n"...)
		out = append(append(out, c.req.body...), "\r\n"...)
	}
	return bridge.AppendTrailers1(out, c.req.trailers)
}

// answer1 reads an answer of HTTP/1.1, of which only the status counts.
type answer1 struct {
	*copying
	conn *upstream.Conn
	buf  []byte
	r, w int // buf[r:w] was read and not looked at
	resp http1.Response
}

func (a *answer1) read() (again bool, err error) {
	if err := a.head(); err != nil {
		return false, err
	}
	a.status = a.resp.Status
	a.headAt = a.sender.cfg.Clock()
	switch a.resp.Body.Kind {
	case http1.BodyLength:
		err = a.length(a.resp.Body.Length)
	case http1.BodyChunked:
		err = a.chunks()
	case http1.BodyUntilClose:
		if a.more() == nil {
			_, _ = io.Copy(io.Discard, a.conn)
		}
		return false, nil
	default:
	}
	return a.resp.KeepAlive && a.r == a.w, err
}

// head reads the final head; there may be interim answers before it.
func (a *answer1) head() error {
	for {
		if a.w > a.r {
			n, err := a.resp.Parse(a.buf[a.r:a.w], string(a.req.method) == "HEAD", false, &a.sender.cfg.HTTP1)
			switch {
			case err == nil && !a.resp.Informational && !a.resp.Tunnel:
				a.r += n
				return nil
			case err == nil && a.resp.Tunnel:
				return errors.New("an upgrade that nobody asked for")
			case err == nil:
				a.r += n
				continue
			case !errors.Is(err, http1.ErrMore):
				return err
			}
		}
		none := a.w == 0
		if err := a.grow(); err != nil {
			if none && a.conn.Reused() && !isTimeout(err) {
				return errNoVerdict
			}
			return err
		}
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// grow reads behind what is there.
func (a *answer1) grow() error {
	switch {
	case a.w < len(a.buf):
	case a.r > 0:
		a.w = copy(a.buf, a.buf[a.r:a.w])
		a.r = 0
	default: // the codec's bound on heads ends it
		a.buf = append(a.buf, make([]byte, len(a.buf))...)
	}
	n, err := a.conn.Read(a.buf[a.w:])
	a.w += n
	a.endpoint.Metrics().BytesRead(n)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// more reads on when all that was read is done with.
func (a *answer1) more() error {
	a.r, a.w = 0, 0
	return a.grow()
}

func (a *answer1) length(left int64) error {
	for {
		n := min(left, int64(a.w-a.r))
		a.r += int(n)
		if left -= n; left == 0 {
			return nil
		}
		if err := a.more(); err != nil {
			return err
		}
	}
}

func (a *answer1) chunks() error {
	var chunk http1.ChunkReader
	chunk.Reset(&a.sender.cfg.HTTP1)
	for {
		n, done, err := chunk.Scan(a.buf[a.r:a.w])
		a.r += n
		if done || err != nil {
			return err
		}
		if err := a.more(); err != nil {
			return err
		}
	}
}
