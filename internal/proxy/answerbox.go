package proxy

import (
	"sync"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// answerBox is the Sink of an endpoint's stream for goroutines that wait for
// what it brings: those of an HTTP/1.1 caller.
type answerBox struct {
	resp http1.Response // the head that was taken last; owned by who takes

	mu      sync.Mutex
	news    sync.Cond // on mu
	stream  *http2.Stream
	heads   []*http2.Head // not taken yet
	headEnd bool          // the last of them is all of the answer
	in      inbox         // of the answer's body
	failure error         // the stream ended before its time
	stopped bool          // nobody is to wait
	lasting bool          // the exchange's deadline is none any more
	spent   bool          // the try's time is over, and no head had been taken
	headed  bool          // the final head was taken
}

func newAnswerBox() *answerBox {
	b := &answerBox{}
	b.news.L = &b.mu
	return b
}

// Head is an interim answer or the head of the final one.
func (b *answerBox) Head(_ *http2.Stream, h *http2.Head, end bool) {
	b.change(func() {
		if len(b.heads) > maxInterims {
			return // whoever takes them gives up before this one
		}
		b.heads = append(b.heads, h)
		b.headEnd = end
	})
}

// Data is a piece of the answer's body.
func (b *answerBox) Data(_ *http2.Stream, p []byte, end bool) {
	b.change(func() {
		b.in.data = append(b.in.data, p...)
		b.in.end = end
	})
}

// Trailers end the answer.
func (b *answerBox) Trailers(_ *http2.Stream, fields []http1.Header) {
	b.change(func() { b.in.trailers, b.in.end = fields, true })
}

// Sent tells that bytes of the request have left.
func (b *answerBox) Sent(*http2.Stream, int) { b.change(func() {}) }

// Closed is the end of the stream.
func (b *answerBox) Closed(_ *http2.Stream, err error) {
	b.change(func() { b.failure = err })
}

// interrupt ends each wait, and all that come before resume.
func (b *answerBox) interrupt() { b.change(func() { b.stopped = true }) }

// late is interrupt at the exchange's deadline.
func (b *answerBox) late() { b.change(func() { b.stopped = b.stopped || !b.lasting }) }

// tryLate is interrupt at the end of the try's time, which is for the head.
func (b *answerBox) tryLate() { b.change(func() { b.spent = !b.headed }) }

// last lets the exchange go on beyond its deadline.
func (b *answerBox) last() { b.change(func() { b.lasting, b.stopped = true, false }) }

func (b *answerBox) resume() { b.change(func() { b.stopped = false }) }

func (b *answerBox) change(how func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	how()
	b.news.Broadcast()
}

// head waits for the next head. nil: there is none, and failure says why, if it
// was not interrupted.
func (b *answerBox) head() (h *http2.Head, end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.heads) == 0 {
		if b.stopped || b.spent || b.failure != nil {
			return nil, false
		}
		b.news.Wait()
	}
	h, b.heads = b.heads[0], b.heads[1:]
	if h.Status >= 200 {
		b.headed, b.spent = true, false
	}
	return h, b.headEnd && len(b.heads) == 0
}

// take moves the next bytes of the answer's body to p. It waits for some, if it
// is to. ok is false when there are no more to come although the end was not
// seen.
func (b *answerBox) take(p []byte, wait bool) (n int, end, ok bool) {
	b.mu.Lock()
	for wait && len(b.in.data) == 0 && !b.in.end {
		if b.stopped || b.failure != nil {
			b.mu.Unlock()
			return 0, false, false
		}
		b.news.Wait()
	}
	n = copy(p, b.in.data)
	if n == len(b.in.data) {
		b.in.data = b.in.data[:0]
	} else {
		b.in.data = b.in.data[n:]
	}
	end = b.in.end && len(b.in.data) == 0
	b.mu.Unlock()
	if n > 0 {
		b.stream.Consumed(n)
		b.stream.Conn().Flush()
	}
	return n, end, true
}

// send hands a piece of the request's body over, and waits while too much of it
// waits for the endpoint. False: it was interrupted, or the stream has ended.
func (b *answerBox) send(p []byte, end bool) bool {
	b.stream.SendData(p, end)
	b.stream.Conn().Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !end && b.stream.Queued() > queuedMost && !b.stopped && !b.spent && b.failure == nil {
		b.news.Wait()
	}
	return !b.stopped && !b.spent && b.failure == nil
}

// err is why the stream ended before its time.
func (b *answerBox) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

// trailers are those of an answer that has ended.
func (b *answerBox) trailers() []http1.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.in.trailers
}
