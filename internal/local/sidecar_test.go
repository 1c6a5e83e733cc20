package local

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// playSidecar is a stand-in for recloser-proxy in the tests of this package: it
// is ready as soon as it has started, and carries nothing. The end-to-end tests
// run the real one.
func playSidecar(args []string) int {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	if v := flags["--node-metadata"]; v != "" {
		fmt.Fprintln(os.Stdout, v)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /clusters", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") })
	srv := &http.Server{Addr: flags["--admin"], Handler: mux, ReadHeaderTimeout: time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-ended
	return 0
}

// TestSidecarIdle: connections are something under way only where they are not
// kept for the next request.
func TestSidecarIdle(t *testing.T) {
	for view, want := range map[string]bool{
		``:                true,
		`{"clusters":[]}`: true,
		`{"clusters":[{"direction":"inbound","port":"80","requests":1}]}`:     false,
		`{"clusters":[{"direction":"inbound","port":"80","pending":1}]}`:      false,
		`{"clusters":[{"direction":"inbound","port":"80","connections":3}]}`:  true,
		`{"clusters":[{"direction":"inbound","port":"25","connections":3}]}`:  false,
		`{"clusters":[{"direction":"outbound","port":"25","connections":3}]}`: true,
		`{"clusters":[{"direction":"outbound","port":"80","requests":3}]}`:    true,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, view) }))
		at := netip.MustParseAddrPort(strings.TrimPrefix(srv.URL, "http://"))
		if got := sidecarIdle(t.Context(), at, func(port uint16) bool { return port == 25 }); got != want {
			t.Errorf("%s: idle %t, want %t", view, got, want)
		}
		srv.Close()
	}
}

// A sidecar is told where its instance is, by the labels of its template.
func TestSidecarKnowsItsPlace(t *testing.T) {
	m := &Mesh{}
	for _, tt := range []struct {
		locality model.Locality
		want     string
	}{
		{model.Locality{Region: "eu", Zone: "eu-1"}, "--locality eu/eu-1"},
		{model.Locality{}, ""},
	} {
		args := strings.Join(m.proxyCommand(t.TempDir(), identity{locality: tt.locality}, &place{}).args, " ")
		if strings.Contains(args, "--locality") != (tt.want != "") || !strings.Contains(args, tt.want) {
			t.Errorf("%+v: %s", tt.locality, args)
		}
	}
}
