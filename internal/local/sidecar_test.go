package local

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
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
