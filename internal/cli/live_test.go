package cli

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/plane"
)

// TestLiveScripts runs commands against a real control plane that follows the
// script's mesh.yaml. RECLOSER_CONTROL names it.
func TestLiveScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/live",
		Setup: func(env *testscript.Env) error {
			url, err := servePlane(filepath.Join(env.WorkDir, "mesh.yaml"), env.Defer)
			env.Setenv("RECLOSER_CONTROL", url)
			return err
		},
	})
}

// servePlane runs a control plane and gives the URL of its HTTP API.
func servePlane(manifest string, cleanup func(func())) (string, error) {
	prom := httptest.NewServer(http.NotFoundHandler())
	cleanup(prom.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p, err := plane.New(plane.Config{
		Control: control.Config{Sources: []source.Source{file.New(file.Config{Paths: []string{manifest}})}, XDSAddress: "127.0.0.1:0"},
		Observe: observe.Config{Listener: ln, Prometheus: prom.URL},
	})
	if err != nil {
		ln.Close()
		return "", err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
	})
	ready, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	return "http://" + ln.Addr().String(), p.Control.Ready(ready)
}
