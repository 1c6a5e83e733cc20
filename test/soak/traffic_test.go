package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// traffic is what the clients did.
type traffic struct {
	mu     sync.Mutex
	done   map[string]int // of each kind
	failed map[string]int
	first  map[string]error
	moving atomic.Int64 // messages of the connections that live long
}

func newTraffic() *traffic {
	return &traffic{done: make(map[string]int), failed: make(map[string]int), first: make(map[string]error)}
}

func (tr *traffic) count(kind string, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.done[kind]++
	if err == nil {
		return
	}
	tr.failed[kind]++
	if tr.first[kind] == nil {
		tr.first[kind] = err
	}
}

// report gives a line for each kind, and what was lost.
func (tr *traffic) report() (lines []string, lost error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for kind, n := range tr.done {
		lines = append(lines, fmt.Sprintf("%-28s %6d", kind, n))
		if f := tr.failed[kind]; f > 0 {
			lost = errors.Join(lost, fmt.Errorf("%s: %d of %d lost; the first: %w", kind, f, n, tr.first[kind]))
		}
	}
	slices.Sort(lines)
	return lines, lost
}

// A client does one thing of its kind, over and over.
type client struct {
	kind string
	// once is one request, or one connection with some messages.
	once func(ctx context.Context) error
	end  func()
}

// pause between two of a client's requests: the machine is not to be loaded, but
// the proxy to be moved.
const pause = 5 * time.Millisecond

// run goes on until stop. What has begun is finished.
func (c *client) run(stop <-chan struct{}, tr *traffic) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	defer c.end()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		tr.count(c.kind, c.once(ctx))
		cancel()
	}
}

// body is text of a random length, most often short.
func body() []byte {
	n := rand.IntN(2000)
	switch rand.IntN(50) {
	case 0:
		n = 1 << 20
	case 1, 2, 3:
		n = 100_000
	}
	return bytes.Repeat([]byte{byte('a' + rand.IntN(26))}, n)
}

// small is a body that comes whole with its head.
func small() []byte { return bytes.Repeat([]byte{byte('a' + rand.IntN(26))}, rand.IntN(2000)) }

// httpClient posts to a path by HTTP/1.1, or by HTTP/2 with prior knowledge.
// POST, because Go's client itself repeats others that fail.
func httpClient(kind, addr, path string, http2 bool, body func() []byte) client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	return client{kind: kind, end: transport.CloseIdleConnections, once: func(ctx context.Context) error {
		sent := body()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, bytes.NewReader(sent))
		if err != nil {
			return err
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			return fmt.Errorf("body of %s: %w", res.Status, err)
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%d bytes were answered %s: %s %q", len(sent), res.Status, res.Header.Get("Recloser-Reason"), got)
		}
		if !bytes.Equal(got, sent) {
			return fmt.Errorf("%d bytes came back of %d", len(got), len(sent))
		}
		return nil
	}}
}

// rpcClients share a connection, as the calls of a program do.
func rpcClients(addr string) ([]client, error) {
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	service := testgrpc.NewTestServiceClient(cc)
	var users atomic.Int32
	users.Store(2)
	end := func() {
		if users.Add(-1) == 0 {
			cc.Close()
		}
	}
	unary := client{kind: "gRPC unary", end: end, once: func(ctx context.Context) error {
		n := len(body())
		res, err := service.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseSize: int32(n), Payload: &testgrpc.Payload{Body: body()}})
		if err == nil && len(res.GetPayload().GetBody()) != n {
			err = fmt.Errorf("%d bytes of %d", len(res.GetPayload().GetBody()), n)
		}
		return err
	}}
	streams := client{kind: "gRPC bidirectional", end: end, once: func(ctx context.Context) error {
		s, err := openStream(ctx, service)
		if err != nil {
			return err
		}
		for range rand.IntN(100) {
			if err := s.exchange(nil); err != nil {
				return err
			}
		}
		return s.end()
	}}
	return []client{unary, streams}, nil
}

// session is a connection or a stream on which messages are exchanged.
type session interface {
	exchange(data []byte) error
	end() error
}

type rpcStream struct {
	testgrpc.TestService_FullDuplexCallClient
}

func openStream(ctx context.Context, service testgrpc.TestServiceClient) (session, error) {
	s, err := service.FullDuplexCall(ctx)
	return rpcStream{s}, err
}

func (s rpcStream) exchange([]byte) error {
	_ = s.Send(&testgrpc.StreamingOutputCallRequest{ // of an error, Recv tells
		ResponseParameters: []*testgrpc.ResponseParameters{{Size: 500}}, Payload: &testgrpc.Payload{Body: make([]byte, 500)},
	})
	_, err := s.Recv()
	return err
}

func (s rpcStream) end() error {
	if err := s.CloseSend(); err != nil {
		return err
	}
	_, err := s.Recv()
	switch {
	case err == nil:
		return errors.New("a message after the last")
	case err != io.EOF: //nolint:errorlint // the interface says io.EOF itself
		return err
	}
	return nil
}

type webSocket struct {
	ctx context.Context
	c   *websocket.Conn
}

func openWebSocket(ctx context.Context, addr string) (session, error) {
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws", nil)
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(-1)
	return webSocket{ctx, c}, nil
}

func (w webSocket) exchange(data []byte) error {
	if err := w.c.Write(w.ctx, websocket.MessageBinary, data); err != nil {
		return err
	}
	_, got, err := w.c.Read(w.ctx)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%d bytes came back of %d", len(got), len(data))
	}
	return err
}

func (w webSocket) end() error { return w.c.Close(websocket.StatusNormalClosure, "") }

type byteStream struct{ c *net.TCPConn }

func openBytes(ctx context.Context, addr string) (session, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return byteStream{c.(*net.TCPConn)}, nil
}

func (b byteStream) exchange(data []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := b.c.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	_, err := io.ReadFull(b.c, got)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return errors.New("other bytes came back")
	}
	return nil
}

// end ends this half, and waits for the other end of the other.
func (b byteStream) end() error {
	defer b.c.Close()
	if err := b.c.CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(b.c)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the last", len(rest))
	}
	return err
}

// sessions opens one after the other, each for some messages.
func sessions(kind string, open func(ctx context.Context) (session, error)) client {
	return client{kind: kind, end: func() {}, once: func(ctx context.Context) error {
		s, err := open(ctx)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		for range rand.IntN(50) {
			if err := s.exchange(body()); err != nil {
				return err
			}
		}
		return s.end()
	}}
}

// anchor is one session that lives as long as the soak.
func (tr *traffic) anchor(kind string, stop <-chan struct{}, s session) {
	tick := time.NewTicker(10 * pause)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			tr.count(kind, s.end())
			return
		case <-tick.C:
		}
		if err := s.exchange([]byte("still here")); err != nil {
			tr.count(kind, err)
			return
		}
		tr.moving.Add(1)
	}
}
