package http2

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

func xClient() *http.Client {
	return &http.Client{Transport: &http2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}}
}

// The client of net/http2 gets back what it sends.
func TestServerAgainstOtherClient(t *testing.T) {
	l := listen(t)
	serveOn(t, l, nil, startEcho)
	hc := xClient()
	defer hc.CloseIdleConnections()
	for _, n := range []int{0, 1, 100, 16384, 16385, 65535, 65536, 1 << 20} {
		body := bytes.Repeat([]byte("x"), n)
		resp, err := hc.Post("http://"+l.Addr().String()+"/", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(n, err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(n, err)
		}
		if n == 0 {
			body = []byte("hello")
		}
		if !bytes.Equal(got, body) {
			t.Errorf("%d bytes: got %d", n, len(got))
		}
		resp.Body.Close()
	}
}
