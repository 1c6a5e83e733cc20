package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hangs is after how long a peer that waits for bytes gives up: no test waits
// for it unless it fails.
const hangs = 20 * time.Second

// rawUpstream is an endpoint that does with its connections what a test wants,
// and counts what reaches it.
type rawUpstream struct {
	addr  string
	conns atomic.Int32 // accepted
	heads atomic.Int32 // request heads that peer.request read
	bytes atomic.Int64 // received
}

// peer is one end of a connection in a test.
type peer struct {
	net.Conn
	br *bufio.Reader
	up *rawUpstream // nil for a client
}

func newPeer(c net.Conn, up *rawUpstream) *peer {
	_ = c.SetDeadline(time.Now().Add(hangs))
	p := &peer{Conn: c, up: up}
	p.br = bufio.NewReader(readerFunc(func(b []byte) (int, error) {
		n, err := c.Read(b)
		if up != nil {
			up.bytes.Add(int64(n))
		}
		return n, err
	}))
	return p
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// startUpstream serves each connection with handle, number counting from 0,
// and closes it when that returns.
func startUpstream(t testing.TB, handle func(p *peer, number int)) *rawUpstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			number := int(u.conns.Add(1)) - 1
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(newPeer(c, u), number)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return u
}

// answering answers every request with the same bytes.
func answering(answer string) func(*peer, int) {
	return func(p *peer, _ int) {
		for {
			q, err := p.request()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, q.Body)
			p.send(answer)
		}
	}
}

// request reads the next request.
func (p *peer) request() (*http.Request, error) {
	q, err := http.ReadRequest(p.br)
	if err == nil && p.up != nil {
		p.up.heads.Add(1)
	}
	return q, err
}

func (p *peer) send(s string) { _, _ = io.WriteString(p.Conn, s) }

// head reads raw bytes up to and with the next empty line.
func (p *peer) head() string {
	var b strings.Builder
	for {
		line, err := p.br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

// rest reads until the other side closes.
func (p *peer) rest() string {
	b, _ := io.ReadAll(p.br)
	return string(b)
}

// closed tells whether the other side has closed without another byte.
func (p *peer) closed() bool {
	_, err := p.br.ReadByte()
	return err != nil && !isTimeout(err)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newPeer(c, nil)
}

// answer reads one answer to method with all of its body. 1xx are answers here.
func (p *peer) answer(t testing.TB, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(p.br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if resp.StatusCode/100 == 1 {
		return resp, ""
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("answer %d broke off after %q: %v", resp.StatusCode, b, err)
	}
	return resp, string(b)
}

// eventually waits until what is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	end := time.After(hangs)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("still not: %s", what)
		}
	}
}

func okAnswer(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// quickly makes a server's bounds short.
func quickly(s *ServerConfig) {
	s.Timeouts.Linger = 200 * time.Millisecond
	s.Timeouts.Head = 300 * time.Millisecond
}

func pattern(n int) string {
	return string(bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n])
}

// tcpPair is both ends of one connection.
func tcpPair(t testing.TB) (net.Conn, *peer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := dial(t, ln.Addr().String())
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, p
}
