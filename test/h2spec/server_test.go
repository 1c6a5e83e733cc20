package h2spec

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/reclosermesh/recloser/test/mesh"
)

func TestMain(m *testing.M) { os.Exit(mesh.Main(m)) }

// excused are cases that need not pass, by their id, each with the section of
// RFC 9113 that says why.
type excused map[string]string

// timeout is what a case waits for a frame. Cases that pass do not wait for it.
const timeout = 5 * time.Second

// answer is what the upstream says: some cases ask for a few bytes at a time.
var answer = strings.Repeat("a body to send in small windows\n", 8)

// only makes a listener one of HTTP/2 alone.
var only = mesh.Listener{HCM: map[string]any{"codec_type": "HTTP2"}}

func TestServer(t *testing.T) {
	runServerCases(t, startOrigin(t, mesh.HTTP1, only), config.Config{}, nil)
}

// TestServerOfBoth has HTTP/1.1 on the same port, as it is by default.
func TestServerOfBoth(t *testing.T) {
	runServerCases(t, startOrigin(t, mesh.HTTP1, mesh.Listener{}), config.Config{}, excused{
		"http2/3.5/2": `section 3.4: an invalid preface "indicates that the peer is not using HTTP/2"; it is answered as the malformed request of HTTP/1.1 that it is, and closed`,
	})
}

// TestServerToHTTP2 has HTTP/2 on the way to the upstream as well: what a
// caller does to its stream must not be let through to the other side.
func TestServerToHTTP2(t *testing.T) {
	runServerCases(t, startOrigin(t, mesh.HTTP2, only), config.Config{}, nil)
}

// TestServerTLS comes to HTTP/2 by ALPN.
func TestServerTLS(t *testing.T) {
	certificate := mesh.NewCertificate(t)
	runServerCases(t, startOrigin(t, mesh.HTTP1, mesh.Listener{TLS: &certificate}), config.Config{TLS: true, Insecure: true}, nil)
}

// startOrigin starts a proxy before a small origin and returns its address.
func startOrigin(t *testing.T, to mesh.Protocol, listener mesh.Listener) string {
	t.Helper()
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Some cases leave a request open and take for granted that it is not
		// answered meanwhile.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, answer)
	}))
	origin.Config.Protocols = new(http.Protocols)
	origin.Config.Protocols.SetHTTP1(to == mesh.HTTP1)
	origin.Config.Protocols.SetUnencryptedHTTP2(to == mesh.HTTP2)
	origin.Start()
	t.Cleanup(origin.Close)
	return mesh.StartChain(t, 1, to, mesh.Cluster{
		Name: "origin", Endpoints: []string{origin.Listener.Addr().String()}, Protocol: to,
	}, listener).Address
}

func runServerCases(t *testing.T, target string, c config.Config, not excused) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		t.Fatal(err)
	}
	c.Host, c.Path, c.Timeout, c.MaxHeaderLen, c.Strict = host, "/", timeout, 4000, true
	if c.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		run += runGroup(t, g, c, not)
	}
	if run != 146 {
		t.Errorf("h2spec has %d cases for servers, and not the 146 that are known", run)
	}
}

// runGroup runs the cases of a group and of those below it, and counts them.
func runGroup(t *testing.T, g *spec.TestGroup, c config.Config, not excused) int {
	cases := append(append([]*spec.TestCase(nil), g.Tests...), g.StrictTests...)
	for i, tc := range cases {
		id := fmt.Sprintf("%s/%d", g.ID(), i+1)
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			c := c // cases of h2spec share it and do not expect company
			conn, err := spec.Dial(&c)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			verdict(t, not[id], tc.Desc, tc.Requirement, tc.Run(&c, conn))
		})
	}
	n := len(cases)
	for _, below := range g.Groups {
		n += runGroup(t, below, c, not)
	}
	return n
}

func verdict(t *testing.T, excuse, desc, requirement string, err error) {
	t.Helper()
	switch {
	case excuse != "" && err != nil:
		t.Logf("%s: RFC 9113, %s", desc, excuse)
	case excuse != "":
		t.Errorf("%s: passes, and needs no excuse", desc)
	case errors.Is(err, spec.ErrSkipped):
		t.Errorf("%s: was skipped: the target does not let it be tried", desc)
	case err != nil:
		t.Errorf("%s\n%s\n%v", desc, requirement, err)
	}
}
