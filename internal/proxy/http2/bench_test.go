package http2

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// answerSmall answers each request with a head of the usual fields and a body
// of 64 bytes.
type answerSmall struct {
	fields []http1.Header
	body   []byte
}

func (a *answerSmall) accept(s *Stream, _ *Head, _ bool) Sink {
	s.SendHead(a.fields, false)
	s.SendData(a.body, true)
	return a
}
func (a *answerSmall) Head(*Stream, *Head, bool)        {}
func (a *answerSmall) Data(*Stream, []byte, bool)       {}
func (a *answerSmall) Trailers(*Stream, []http1.Header) {}
func (a *answerSmall) Sent(*Stream, int)                {}
func (a *answerSmall) Closed(s *Stream, err error)      {}

var (
	benchRequest = []http1.Header{
		field(":method", "GET"), field(":scheme", "http"), field(":authority", "checkout.shop.svc.cluster.local:8080"),
		field(":path", "/v1/items?limit=20"), field("user-agent", "bench/1.0"), field("accept", "application/json"),
		field("accept-encoding", "gzip, deflate"), field("x-forwarded-proto", "http"),
	}
	benchAnswer = []http1.Header{
		field(":status", "200"), field("content-type", "application/json"), field("content-length", "64"),
		field("server", "bench"), field("date", "Mon, 01 Jan 2029 00:00:00 GMT"),
	}
)

// opener keeps one stream after the other going on a connection.
type opener struct {
	b *bencher
	c *Conn
}

type bencher struct {
	left   atomic.Int64
	going  sync.WaitGroup
	fields []http1.Header
}

func (o *opener) next() {
	if o.b.left.Add(-1) < 0 {
		o.b.going.Done()
		return
	}
	if _, err := o.c.Open(o.b.fields, true, o); err != nil {
		panic(err)
	}
}
func (o *opener) Head(*Stream, *Head, bool) {}
func (o *opener) Data(s *Stream, b []byte, end bool) {
	s.Consumed(len(b))
}
func (o *opener) Trailers(*Stream, []http1.Header) {}
func (o *opener) Sent(*Stream, int)                {}
func (o *opener) Closed(_ *Stream, err error) {
	if err != nil {
		panic(err)
	}
	o.next()
}

// BenchmarkRequests measures one request and its answer over loopback TCP, both
// ends of the connection together: 8 connections with 16 streams each.
func BenchmarkRequests(b *testing.B) {
	l := listen(b)
	a := &answerSmall{fields: benchAnswer, body: make([]byte, 64)}
	serveOn(b, l, nil, a.accept)
	var conns []*Conn
	var served sync.WaitGroup
	for range 8 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		c := NewClient(nc, nil, nil)
		conns = append(conns, c)
		served.Go(func() { _ = c.Serve() })
	}
	run := func(n int) {
		br := &bencher{fields: benchRequest}
		br.left.Store(int64(n))
		for _, c := range conns {
			for range 16 {
				br.going.Add(1)
				(&opener{b: br, c: c}).next()
			}
			c.Flush()
		}
		br.going.Wait()
	}
	run(2000)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	run(b.N)
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.StopTimer()
	for _, c := range conns {
		c.Close(http2.ErrCodeNo, "")
	}
	served.Wait()
}

// cpuTime is what the process has used of processors: on a machine that others
// use too, it says more than the time that passed.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
