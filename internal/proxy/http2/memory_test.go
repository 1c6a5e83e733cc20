package http2

import (
	"net"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// A connection that is idle after its requests keeps no buffers, only the tables
// of its headers: both ends together less than one buffer.
func TestIdleConnectionsKeepLittle(t *testing.T) {
	const n = 200
	l := listen(t)
	a := &answerSmall{fields: benchAnswer, body: make([]byte, 64)}
	serveOn(t, l, nil, a.accept)
	var served sync.WaitGroup
	var conns []*Conn
	defer func() {
		for _, c := range conns {
			c.Close(http2.ErrCodeNo, "")
		}
		served.Wait()
	}()
	ask := func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := NewClient(nc, nil, nil)
		conns = append(conns, c)
		served.Go(func() { _ = c.Serve() })
		for range 3 {
			b := &bencher{fields: benchRequest}
			b.left.Store(1)
			b.going.Add(1)
			(&opener{b: b, c: c}).next()
			c.Flush()
			b.going.Wait()
		}
	}
	used := func() int64 {
		for range 3 { // what pools hold is given up by the second
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	ask()
	before := used()
	for range n {
		ask()
	}
	each := (used() - before) / n
	t.Logf("%d bytes for a connection, both ends", each)
	if each > chunkSize {
		t.Errorf("%d bytes for each idle connection", each)
	}
}
