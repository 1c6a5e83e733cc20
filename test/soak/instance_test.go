package soak

import (
	"context"
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

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"

	"github.com/reclosermesh/recloser/test/mesh"
)

// instance is one run of a workload: HTTP of both versions with WebSocket, gRPC
// and bare TCP, each on a port of its own. It never fails by itself, but ends
// connections in peace all the time, as programs do.
type instance struct {
	http, grpc, tcp string // addresses

	at       [3]string // the same
	web      *http.Server
	rpc      *grpc.Server
	bytes    net.Listener
	running  sync.WaitGroup // the servers, and the connections that they know nothing of
	requests atomic.Int64
	arrived  chan struct{} // a slow request has come
	release  chan struct{} // slow requests may be answered
}

// recycle is how many requests of HTTP a connection has before it is ended.
const recycle = 50

// newInstance starts one at these addresses, or where there is room if they are
// empty.
func newInstance(t testing.TB, at [3]string) *instance {
	t.Helper()
	var listeners [3]net.Listener
	for i := range listeners {
		if at[i] == "" {
			at[i] = mesh.FreeAddress(t)
		}
		var err error
		if listeners[i], err = net.Listen("tcp", at[i]); err != nil {
			t.Fatal(err)
		}
	}
	in := &instance{
		at: at, http: at[0], grpc: at[1], tcp: at[2], bytes: listeners[2],
		arrived: make(chan struct{}, 100), release: make(chan struct{}),
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/ws", in.webSocket)
	mux.HandleFunc("/slow", in.slow)
	mux.HandleFunc("/", in.echo)
	in.web = &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	in.web.Protocols.SetHTTP1(true)
	in.web.Protocols.SetUnencryptedHTTP2(true)

	// GOAWAY every now and then, with all the time that streams need.
	in.rpc = grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: time.Second}))
	testgrpc.RegisterTestServiceServer(in.rpc, interop.NewTestServer())

	in.running.Go(func() {
		if err := in.web.Serve(listeners[0]); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("instance: %v", err)
		}
	})
	in.running.Go(func() {
		if err := in.rpc.Serve(listeners[1]); err != nil {
			t.Errorf("instance: %v", err)
		}
	})
	in.running.Go(in.serveBytes)
	return in
}

// retire ends the instance as a program ends: it takes no more connections, and
// finishes what it is at.
func (in *instance) retire(ctx context.Context) error {
	in.bytes.Close()
	err := in.web.Shutdown(ctx)
	in.rpc.GracefulStop()
	in.running.Wait()
	return err
}

// echo answers with what it was sent. Every so often it ends the connection: in
// HTTP/1.1 by Connection: close, in HTTP/2 by GOAWAY. The latter refuses the
// streams that it has not seen, which another connection must then serve; so it
// is not done where there are bodies that no proxy keeps whole to send again.
func (in *instance) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if in.requests.Add(1)%recycle == 0 && !strings.HasPrefix(r.URL.Path, "/large/") {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // an error is the caller's, who will tell
}

// slow waits with its answer until it is told.
func (in *instance) slow(w http.ResponseWriter, r *http.Request) {
	in.arrived <- struct{}{}
	select {
	case <-in.release:
	case <-r.Context().Done():
	}
	w.WriteHeader(http.StatusNoContent)
}

func (in *instance) webSocket(w http.ResponseWriter, r *http.Request) {
	in.running.Add(1)
	defer in.running.Done()
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	c.SetReadLimit(-1)
	for {
		kind, data, err := c.Read(context.Background())
		if err == nil {
			err = c.Write(context.Background(), kind, data)
		}
		if err != nil {
			return // the client has closed, or will tell
		}
	}
}

func (in *instance) serveBytes() {
	for {
		c, err := in.bytes.Accept()
		if err != nil {
			return
		}
		in.running.Go(func() {
			defer c.Close()
			_, _ = io.Copy(c, c) // until the client ends its half, which it tells of
		})
	}
}
