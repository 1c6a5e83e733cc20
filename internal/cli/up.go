package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control/source/file"
	"github.com/reclosermesh/recloser/internal/local"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

func newUpCommand() *cobra.Command {
	var cfg local.UpConfig
	var publish []string
	var level string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "up -f PATH...",
		Short: "Run a mesh on this machine from manifests",
		Long: `Runs a whole mesh on this machine: the control plane, and an instance with its
sidecar for each replica of the Deployments, Pods and Workloads in the manifests,
on loopback addresses of their own. No container engine, no root, no ports to
choose: Services lead to instances by their labels, as in Kubernetes.

Containers run when their image is one of the built-in sample programs; a
Workload (recloser.io/v1alpha1) runs any command of your own, or leads to an
address where something runs already. Programs call each other by the Services'
names through HTTP_PROXY, which is set for them.

Manifests are followed: what changes on disk changes the mesh. Ctrl-C ends all
that was started.`,
		Example: `  recloser up -f circuit-breaking.yaml
  recloser up -f manifests/ --publish 8200=checkout:80`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := file.Check(cfg.Paths); err != nil {
				return usagef("%w", err)
			}
			for _, p := range publish {
				g, err := local.ParseGateway(p)
				if err != nil {
					return usagef("--publish %w", err)
				}
				cfg.Gateways = append(cfg.Gateways, g)
			}
			screen := &upScreen{out: cmd.OutOrStdout(), now: time.Now}
			log, err := newLogger(lockedWriter{screen, cmd.ErrOrStderr()}, level)
			if err != nil {
				return err
			}
			cfg.Logger, cfg.Notify = log, screen.event
			if !quiet {
				cfg.Output = lockedWriter{screen, cmd.OutOrStdout()}
			}
			bi, _ := debug.ReadBuildInfo()
			cfg.Version = readVersion(bi)
			return runUp(cmd.Context(), cfg, screen)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&cfg.Paths, "filename", "f", nil, "manifest file or folder; may be given several times")
	f.StringArrayVar(&publish, "publish", nil, "open a port of this machine to a service: [IP:]PORT=SERVICE[.NAMESPACE][:PORT], by default the service's only port, or 80; may be given several times")
	f.StringVar(&cfg.HTTPAddress, "http-address", observe.DefaultAddress, "where the HTTP API listens")
	f.StringVar(&cfg.XDSAddress, "xds-address", "127.0.0.1:0", "where proxies connect; port 0 lets the system choose")
	f.StringVar(&cfg.ProxyPath, "proxy", "", "the recloser-proxy program (default: beside this one, else in PATH)")
	f.StringVar(&cfg.State, "state", "", "folder for what the mesh writes (default: a temporary one, removed at the end)")
	f.StringVar(&cfg.DataDir, "data-dir", "", "folder for metrics; without it they are temporary")
	f.StringVar(&cfg.Prometheus, "prometheus", "", "URL of a Prometheus that scrapes the proxies, instead of the embedded one")
	f.BoolVar(&cfg.OneAddress, "one-address", false, "run all instances on 127.0.0.1 with chosen ports, as where there is no other loopback address")
	f.BoolVarP(&quiet, "quiet", "q", false, "do not show what the programs print")
	f.StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag stands a few lines above
	}
	return cmd
}

// runUp runs the mesh and tells on the screen what becomes of it.
func runUp(ctx context.Context, cfg local.UpConfig, screen *upScreen) error {
	kill := make(chan struct{})
	cfg.Kill = kill
	up, err := local.NewUp(cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer screen.listen(ctx, kill)()
	var telling sync.WaitGroup
	telling.Go(func() { screen.follow(ctx, up, cfg) })
	err = up.Run(ctx)
	stop()
	telling.Wait()
	if err == nil {
		screen.print("All that was started has ended.")
	}
	return err
}

// sameSignal is the time within which another signal is taken for the same.
const sameSignal = 500 * time.Millisecond

// listen waits for a signal after the one that ended ctx, and closes kill: a
// second Ctrl-C shall not leave behind what the first is still ending. The
// result ends the listening.
func (s *upScreen) listen(ctx context.Context, kill chan<- struct{}) (end func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		// The signal that ended ctx comes here too, and some senders (timeout,
		// terminals that tell the whole group) send it twice.
		for first := time.After(sameSignal); first != nil; {
			select {
			case <-signals:
			case <-first:
				first = nil
			case <-ended:
				return
			}
		}
		select {
		case <-signals:
			s.print("Killing what is left.")
			close(kill)
		case <-ended:
		}
	})
	return func() {
		signal.Stop(signals)
		close(ended)
		listening.Wait()
	}
}

// lockedWriter writes between the screen's lines and not inside of them.
type lockedWriter struct {
	screen *upScreen
	w      io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.screen.mu.Lock()
	defer l.screen.mu.Unlock()
	return l.w.Write(p)
}

// upScreen tells what happens, line by line.
type upScreen struct {
	out io.Writer
	now func() time.Time

	mu sync.Mutex
}

func (s *upScreen) print(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range lines {
		fmt.Fprintln(s.out, l)
	}
}

// event tells of what happens to an instance.
func (s *upScreen) event(e local.Event) {
	stamp := s.now().Format(time.TimeOnly) + " "
	switch e.Kind {
	case local.Started, local.Ended:
		return // the steps between them say enough
	case local.Crashed:
		lines := []string{stamp + e.String()}
		if len(e.Lines) > 0 && !e.OK {
			lines = append(lines, "         the last that it said:")
			for _, l := range e.Lines {
				lines = append(lines, "           "+l)
			}
		}
		s.print(lines...)
	default:
		s.print(stamp + e.String())
	}
}

// follow tells where things are once they are there, and of breakers that open
// and close, until ctx ends.
func (s *upScreen) follow(ctx context.Context, up *local.Up, cfg local.UpConfig) {
	select {
	case <-up.Started():
	case <-ctx.Done():
		return
	}
	s.print(
		"Control plane: http://"+up.HTTPAddress()+"  (manifests: "+strings.Join(cfg.Paths, ", ")+")",
		"Starting the workloads. Ctrl-C ends all of it.",
	)
	// What is there is shown also where something does not come up.
	patient, stop := context.WithTimeout(ctx, overviewPatience)
	up.Mesh.AwaitReady(patient)
	stop()
	if ctx.Err() != nil {
		return
	}
	s.overview(up, cfg)
	s.breakers(ctx, up.HTTPAddress())
}

// overviewPatience is a little more than that after which an instance that does
// not come up is told of.
const overviewPatience = 12 * time.Second

// overview is what runs where, and how to look at it.
func (s *upScreen) overview(up *local.Up, cfg local.UpConfig) {
	instances := up.Mesh.Instances()
	if len(instances) == 0 {
		s.print("The manifests have nothing to run.")
		return
	}
	table := [][]string{{"WORKLOAD", "INSTANCE", "ADDRESS", "SIDECAR"}}
	for _, in := range instances {
		var public []string
		for _, p := range in.Public {
			public = append(public, p.String())
		}
		if len(public) == 0 {
			public = []string{"-"}
		}
		table = append(table, []string{
			strings.ToLower(in.Kind) + "/" + in.Workload, in.Name, strings.Join(public, ","), "http://" + in.Admin.String(),
		})
	}
	lines := append([]string{""}, align(table)...)
	if len(cfg.Gateways) > 0 {
		lines = append(lines, "", "Open to this machine:")
		for _, g := range up.Mesh.Published() {
			lines = append(lines, "  "+g)
		}
	}
	lines = append(lines, "", "Look at it from another terminal:")
	for _, hint := range append(hints(instances, up.HTTPAddress()), up.Mesh.ExampleCall()) {
		if hint != "" {
			lines = append(lines, "  "+hint)
		}
	}
	s.print(append(lines, "")...)
}

// hints are commands to look at what runs.
func hints(instances []local.Instance, address string) []string {
	where := ""
	if address != observe.DefaultAddress {
		where = " --control http://" + address
	}
	var out []string
	for _, in := range instances {
		kind := map[string]string{"Workload": "workload", "Pod": "pod"}[in.Kind]
		if kind == "" {
			kind = "deploy"
		}
		if hint := "recloser stat " + kind + " -n " + in.Namespace + where; !slices.Contains(out, hint) {
			out = append(out, hint)
		}
	}
	return append(out, "recloser breakers -w"+where, "recloser events -f"+where)
}

// align makes the columns of a table equally wide.
func align(table [][]string) []string {
	var width []int
	for _, row := range table {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len(cell))
		}
	}
	lines := make([]string, len(table))
	for i, row := range table {
		var b strings.Builder
		for j, cell := range row {
			fmt.Fprintf(&b, "%-*s  ", width[j], cell)
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// breakers tells of each change of a breaker until ctx ends.
func (s *upScreen) breakers(ctx context.Context, address string) {
	c, err := client.New("http://" + address)
	if err != nil {
		return
	}
	defer c.Close()
	err = c.Events(ctx, breakers.Filter{}, true, func(l breakers.Line) error {
		if e := l.Event; e != nil && !e.Refused {
			s.print(e.Time.Local().Format(time.TimeOnly) + " " + breakerLine(e))
		}
		return nil
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrClosed) {
		s.print("Breakers are not told of any more: " + err.Error())
	}
}

// breakerLine is a breaker's change of state in one sentence.
func breakerLine(e *breakers.Event) string {
	who := e.Endpoint.Pod
	if who == "" {
		who = e.Endpoint.Address
	}
	caller := e.Client.Workload
	if caller == "" {
		caller = cmp.Or(e.Client.Pod, e.Client.Node)
	}
	line := fmt.Sprintf("breaker of %s for %s, endpoint %s: %s -> %s", caller, e.Service.Name, who, e.From, e.To)
	if e.Detail != "" {
		line += ", " + e.Detail
	}
	return line
}
