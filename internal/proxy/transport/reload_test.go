package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// TestReload replaces a client's files: authorities and its own certificate.
func TestReload(t *testing.T) {
	oldCA, newCA, clients := tlstest.NewCA(t, "old CA"), tlstest.NewCA(t, "new CA"), tlstest.NewCA(t, "clients' CA")
	dir := t.TempDir()
	one, two := clients.Issue(tlstest.Leaf{Subject: "one"}), clients.Issue(tlstest.Leaf{Subject: "two"})
	caFile := tlstest.Write(t, dir, "ca.pem", oldCA.PEM)
	shown := make(chan string, 1)
	address := func(ca *tlstest.CA) string {
		return echoTLS(t, &tls.Config{
			Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)},
			ClientCAs:    clients.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
			VerifyConnection: func(cs tls.ConnectionState) error {
				shown <- cs.PeerCertificates[0].Subject.CommonName
				return nil
			},
		})
	}
	oldServer, newServer := address(oldCA), address(newCA)

	var log bytes.Buffer
	now := time.Now()
	c := loadClient(t, ClientConfig{Settings: Settings{
		Owner: `cluster "bb"`,
		Certificates: []KeyPair{{
			Chain: Source{File: tlstest.Write(t, dir, "cert.pem", one.Cert)},
			Key:   Source{File: tlstest.Write(t, dir, "key.pem", one.Key)},
		}},
		Verify: Verify{TrustedCA: Source{File: caFile}},
		Now:    func() time.Time { return now },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}})
	visit := func(address, wantShown string) *Conn {
		t.Helper()
		conn := mustDial(t, c, address, "")
		say(t, conn, "hello")
		if got := <-shown; got != wantShown {
			t.Errorf("shown %q, want %q", got, wantShown)
		}
		return conn
	}
	refuses := func(address string) {
		t.Helper()
		if _, err := dial(t, c, address, ""); err == nil {
			t.Error("a server of the other CA was taken")
		}
	}
	count := func(want int, text string) {
		t.Helper()
		if got := strings.Count(log.String(), text); got != want {
			t.Errorf("%q is in the log %d times, want %d:\n%s", text, got, want, log.String())
		}
	}
	visit(oldServer, "one")
	if !visit(oldServer, "one").ConnectionState().DidResume {
		t.Error("no session was resumed")
	}

	// A certificate without its key: the old pair stays, and that is told once.
	tlstest.Write(t, dir, "cert.pem", two.Cert)
	visit(oldServer, "one") // not looked at yet
	count(0, "TLS files")
	for range 3 {
		now = now.Add(DefaultReread)
		visit(oldServer, "one")
	}
	count(1, "level=ERROR")
	count(1, `of="cluster \"bb\"" error="certificate `+filepath.Join(dir, "cert.pem")+` with key `)

	// Gone altogether.
	if err := os.Remove(caFile); err != nil {
		t.Fatal(err)
	}
	now = now.Add(DefaultReread)
	visit(oldServer, "one")
	count(1, "no such file")

	// All is there again, and other.
	tlstest.Write(t, dir, "key.pem", two.Key)
	tlstest.Write(t, dir, "ca.pem", newCA.PEM)
	now = now.Add(DefaultReread)
	refuses(oldServer)
	if visit(newServer, "two").ConnectionState().DidResume {
		t.Error("a session of the certificate before was resumed")
	}
	count(1, "were read again")
	if !visit(newServer, "two").ConnectionState().DidResume {
		t.Error("no session was resumed")
	}
	count(2, "level=ERROR")
}

// TestReloadBuildsOnce wants the same contents not to be made anew, and inline
// text not to be looked at.
func TestReloadBuildsOnce(t *testing.T) {
	path := tlstest.Write(t, t.TempDir(), "f", []byte("a"))
	now := time.Unix(1000, 0)
	var built []string
	r := &reloading[string]{
		sources: []input{{"file", Source{File: path}}, {"text", Source{Inline: []byte("i")}}},
		build: func(texts [][]byte) (*string, error) {
			s := string(bytes.Join(texts, []byte("+")))
			built = append(built, s)
			if strings.HasPrefix(s, "bad") {
				return nil, errors.New("bad")
			}
			return &s, nil
		},
		every: time.Second, now: func() time.Time { return now }, logger: slog.New(slog.DiscardHandler),
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{{"a", "a+i"}, {"b", "b+i"}, {"bad", "b+i"}, {"bad", "b+i"}, {"c", "c+i"}} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		for range 3 {
			if got := *r.get(); got != step.want {
				t.Errorf("after %q: %q, want %q", step.text, got, step.want)
			}
		}
	}
	if got, want := strings.Join(built, " "), "a+i b+i bad+i c+i"; got != want {
		t.Errorf("built %q, want %q", got, want)
	}
}
