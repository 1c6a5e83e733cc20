// Command recloser-proxy is the data plane of the mesh: it stands beside one
// workload instance and carries its calls. See recloser-proxy --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/reclosermesh/recloser/internal/proxy"
)

func main() { os.Exit(run()) }

// gcPercent halves the collector's work for HTTP/2, which makes some garbage for
// each stream, at a price of few megabytes under load (docs/performance.md).
const gcPercent = 200

func run() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	cfg, err := proxy.ParseFlags(os.Args[1:], os.Getenv, proxy.Version(), proxy.Streams{Out: os.Stdout, Err: os.Stderr})
	if err == nil {
		err = proxy.Run(ctx, cfg)
	}
	switch {
	case err == nil, errors.Is(err, proxy.ErrDone):
		return 0
	case errors.Is(err, proxy.ErrUsage):
		fmt.Fprintln(os.Stderr, "recloser-proxy:", err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "recloser-proxy:", err)
		return 1
	}
}
