package h2spec

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"

	"github.com/reclosermesh/recloser/test/mesh"
)

// TestClient has the proxy know that its upstreams speak HTTP/2.
func TestClient(t *testing.T) { runClientCases(t, nil) }

// TestClientTLS has the proxy come to HTTP/2 by ALPN.
func TestClientTLS(t *testing.T) {
	certificate := mesh.NewCertificate(t, mesh.TLSName)
	runClientCases(t, &certificate)
}

// runClientCases has each case as an upstream of one proxy, and makes the proxy
// connect to it by a request.
func runClientCases(t *testing.T, certificate *mesh.Certificate) {
	var cases []*spec.ClientTestCase
	collect(client.Spec(), &cases)
	if len(cases) != 57 {
		t.Errorf("h2spec has %d cases for clients, and not the 57 that are known", len(cases))
	}
	listen := mesh.FreeAddress(t)
	cfg := mesh.Config{Listeners: []mesh.Listener{{Name: "outbound", Address: listen}}}
	listeners := make(map[*spec.ClientTestCase]net.Listener)
	for _, tc := range cases {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cluster := mesh.Cluster{Name: clientID(tc), Endpoints: []string{l.Addr().String()}, Protocol: mesh.HTTP2}
		if certificate != nil {
			l = overTLS(t, l, *certificate)
			cluster.CA, cluster.Names = certificate.Cert, []string{mesh.TLSName}
		}
		listeners[tc] = l
		cfg.Listeners[0].Routes = append(cfg.Listeners[0].Routes, mesh.Route{Prefix: "/" + clientID(tc) + "/", Cluster: clientID(tc)})
		cfg.Clusters = append(cfg.Clusters, cluster)
	}
	mesh.Start(t, cfg)
	t.Run("cases", func(t *testing.T) {
		for _, tc := range cases {
			t.Run(clientID(tc), func(t *testing.T) {
				t.Parallel()
				runClientCase(t, tc, listeners[tc], "http://"+listen+"/"+clientID(tc)+"/")
			})
		}
	})
}

func overTLS(t *testing.T, l net.Listener, certificate mesh.Certificate) net.Listener {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate.Cert, certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
}

func collect(g *spec.ClientTestGroup, to *[]*spec.ClientTestCase) {
	*to = append(*to, g.Tests...)
	for _, below := range g.Groups {
		collect(below, to)
	}
}

func clientID(tc *spec.ClientTestCase) string { return fmt.Sprintf("%s/%d", tc.Parent.ID(), tc.Seq) }

// runClientCase lets the case speak on the first connection; what the proxy
// answers to the request does not matter.
func runClientCase(t *testing.T, tc *spec.ClientTestCase, l net.Listener, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), mesh.Patience)
	var asking sync.WaitGroup
	asking.Go(func() { _ = ask(ctx, url) }) // the proxy may be right to refuse it
	defer asking.Wait()
	defer cancel()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // what was connected to stays
	c := &config.Config{Host: "127.0.0.1", Path: "/", Timeout: timeout, MaxHeaderLen: 4000, Strict: true}
	conn, err := spec.Accept(c, raw)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	verdict(t, "", tc.Desc, tc.Requirement, tc.Run(c, conn))
}

// ask makes one request by HTTP/1.1.
func ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
