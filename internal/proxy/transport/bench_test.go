package transport

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// BenchmarkExchange is a small request and answer on one connection, as the
// request path makes them: looked at before use, read into a buffer that is
// taken when there is something.
func BenchmarkExchange(b *testing.B) {
	ca := tlstest.NewCA(b, "CA")
	address := echoTLS(b, &tls.Config{Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(b)}})
	c := mustDial(b, loadClient(b, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}}}), address, "")
	request, buf := make([]byte, 200), make([]byte, 16<<10)
	take := func() []byte { return buf }
	b.ReportAllocs()
	for b.Loop() {
		if !c.Alive() {
			b.Fatal("not alive")
		}
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		got, err := c.ReadInto(take, nil)
		if err != nil || len(got) != len(request) {
			b.Fatal(len(got), err)
		}
	}
}

// BenchmarkHandshake is a connection made and used once, with its session
// resumed and without.
func BenchmarkHandshake(b *testing.B) {
	for name, sessions := range map[string]int{"full": -1, "resumed": 0} {
		b.Run(name, func(b *testing.B) {
			ca := tlstest.NewCA(b, "CA")
			address := echoTLS(b, &tls.Config{Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(b)}})
			c := loadClient(b, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}}, Sessions: sessions})
			b.ReportAllocs()
			for b.Loop() {
				nc, err := c.Dial(b.Context(), address, "")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.WriteString(nc, "x"); err != nil {
					b.Fatal(err)
				}
				if _, err := nc.Read(make([]byte, 1)); err != nil {
					b.Fatal(err)
				}
				nc.Close()
			}
		})
	}
}
