// Package admin is the proxy's own HTTP port, for people, probes and scrapers:
//
//	GET  /metrics      Prometheus
//	GET  /ready        200 when the proxy serves what it was told to, else 503 and why
//	GET  /live         200 while the process runs
//	GET  /config_dump  the accepted resources, as proto-JSON
//	GET  /clusters     live clusters: endpoints, limits, requests under way
//	GET  /breakers     the breakers' states (?format=json)
//	GET  /events       the last events, one JSON object in a line (?follow: goes on)
//	POST /shutdown     drains, as SIGTERM does
//
// It uses net/http, which the request path does not, and reads what others
// keep. It must listen where only the instance itself and its scraper reach it;
// the default is loopback.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// Config is what the port shows. All but Logger are required.
type Config struct {
	Metrics http.Handler
	// Ready gives nil, or what is missing.
	Ready     func() error
	Resources func() map[xds.Type]map[string]proto.Message
	Clusters  func() []*upstream.Cluster
	Journal   *journal.Journal
	Wall      journal.Wall
	Now       func() time.Duration // the breakers' clock
	// Shutdown begins to drain and returns at once.
	Shutdown func()
	Logger   *slog.Logger
}

// Server serves the port.
type Server struct {
	cfg  Config
	done chan struct{} // closed when Serve ends, for those who follow
}

// New makes a Server.
func New(cfg Config) *Server { return &Server{cfg: cfg, done: make(chan struct{})} }

// Handler serves the paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.cfg.Metrics)
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "live") })
	mux.HandleFunc("GET /config_dump", s.configDump)
	mux.HandleFunc("GET /clusters", s.clusters)
	mux.HandleFunc("GET /breakers", s.breakers)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("POST /shutdown", s.shutdown)
	mux.HandleFunc("GET /{$}", index)
	return mux
}

// Serve serves ln until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		close(s.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port %s: %w", ln.Addr(), err)
	}
	return nil
}

func index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, strings.Join([]string{
		"/metrics", "/ready", "/live", "/config_dump", "/clusters", "/breakers", "/events", "/shutdown (POST)", "",
	}, "\n"))
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.cfg.Ready(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// shutdown refuses what a browser sends for another site: a page that an
// operator looks at must not be able to stop a proxy.
func (s *Server) shutdown(w http.ResponseWriter, r *http.Request) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		http.Error(w, "cross-site request", http.StatusForbidden)
		return
	}
	s.cfg.Logger.Info("shutdown asked for on the admin port", "from", r.RemoteAddr)
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintln(w, "draining")
	s.cfg.Shutdown()
}
