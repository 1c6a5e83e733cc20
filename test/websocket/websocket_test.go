package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

func TestMain(m *testing.M) { os.Exit(mesh.Main(m)) }

// way from a client to a server.
type way struct {
	name    string
	proxies int
	between mesh.Protocol
	over    http.RoundTripper // nil: HTTP/1.1
	tls     bool              // between the proxies
}

// start starts the proxies of the way to a server.
func (w way) start(t *testing.T, server string, args ...string) mesh.Chain {
	t.Helper()
	var l mesh.Listener
	if w.tls {
		certificate := mesh.NewCertificate(t, mesh.TLSName)
		l.TLS = &certificate
	}
	return mesh.StartChain(t, w.proxies, w.between, mesh.Cluster{
		Name: "ws", Endpoints: []string{server}, Protocol: mesh.HTTP1,
	}, l, args...)
}

var ways = []way{
	{name: "direct"},
	{name: "one proxy", proxies: 1},
	{name: "outbound and inbound", proxies: 2, between: mesh.HTTP1},
	{name: "HTTP2 between the proxies", proxies: 2, between: mesh.HTTP2},
	{name: "HTTP1 and TLS between the proxies", proxies: 2, between: mesh.HTTP1, tls: true},
	{name: "HTTP2 and TLS between the proxies", proxies: 2, between: mesh.HTTP2, tls: true},
	{name: "extended CONNECT", proxies: 1, over: extended{}},
	{name: "extended CONNECT to HTTP1 between", proxies: 2, between: mesh.HTTP1, over: extended{}},
	{name: "extended CONNECT throughout", proxies: 2, between: mesh.AsCaller, over: extended{}},
}

// TestTalk has each library talk to each, driven by the client and by the server.
func TestTalk(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			for _, server := range libraries {
				talks := make(chan error, 1)
				addr := start(t, server, func(path string, e endpoint) {
					if path == "/drive" {
						talks <- drive(e)
					} else {
						talks <- echo(e)
					}
				})
				chain := way.start(t, addr)
				for _, client := range libraries {
					t.Run(client.name+" to "+server.name, func(t *testing.T) {
						for path, talk := range map[string]func(endpoint) error{"/echo": drive, "/drive": echo} {
							url := "ws://" + chain.Address + path
							if way.over != nil {
								url = "http://" + chain.Address + path
							}
							ctx, cancel := context.WithTimeout(t.Context(), 2*mesh.Patience)
							e, err := client.dial(ctx, url, way.over)
							if err != nil {
								t.Fatalf("%s: %v", path, err)
							}
							if err := talk(e); err != nil {
								t.Errorf("%s: the client: %v", path, err)
							}
							if err := <-talks; err != nil {
								t.Errorf("%s: the server: %v", path, err)
							}
							hangUp(e)
							cancel()
						}
					})
				}
			}
		})
	}
}

// hangUp ends the connection below, of which the libraries leave the end to
// whoever closed.
func hangUp(e endpoint) {
	switch e := e.(type) {
	case coderEnd:
		_ = e.CloseNow() // an error: it has been closed
	case *gobwasEnd:
		if c, ok := e.rw.(interface{ Close() error }); ok {
			_ = c.Close() // as above
		}
	}
}

// start serves a library until the test ends, and returns where.
func start(t *testing.T, lib library, handle func(string, endpoint)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { lib.serve(ctx, l, handle) })
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// What the driver says at the end, and the echo must hear.
const (
	lastCode   = 4001
	lastReason = "all was said"
)

// drive leads a talk: messages of many sizes, in one frame and in several, pings
// between, and the close.
func drive(e endpoint) error {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, largest} {
		if err := exchange(e, n%2 == 0, payload(n), 1); err != nil {
			return fmt.Errorf("message of %d bytes: %w", n, err)
		}
	}
	for _, frames := range []int{2, 3, 200} {
		if err := exchange(e, true, payload(1<<18), frames); err != nil {
			return fmt.Errorf("message in %d frames: %w", frames, err)
		}
	}
	ponged := e.ping()
	for {
		if err := exchange(e, false, payload(10), 1); err != nil {
			return fmt.Errorf("beside a ping: %w", err)
		}
		done, err := ponged()
		if err != nil {
			return fmt.Errorf("ping: %w", err)
		}
		if done {
			break
		}
	}
	if err := e.close(lastCode, lastReason); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// exchange sends a message and takes its echo.
func exchange(e endpoint, text bool, data []byte, frames int) error {
	sent := make(chan error, 1)
	go func() { sent <- e.send(text, data, frames) }()
	gotText, got, err := e.receive()
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if gotText != text || !bytes.Equal(got, data) {
		return fmt.Errorf("%d bytes, text %v, came back as %d bytes, text %v", len(data), text, len(got), gotText)
	}
	return nil
}

// echo says everything back until the driver closes.
func echo(e endpoint) error {
	for {
		text, data, err := e.receive()
		if c, ok := errors.AsType[*closed](err); ok {
			if c.code != lastCode || c.reason != lastReason {
				return fmt.Errorf("close said %d %q", c.code, c.reason)
			}
			return nil
		}
		if err == nil {
			err = e.send(text, data, 1)
		}
		if err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
}
