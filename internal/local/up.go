package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
	"github.com/reclosermesh/recloser/internal/control/source/memory"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/plane"
)

// UpConfig is what `recloser up` runs.
type UpConfig struct {
	// Paths of manifests, files and folders; they are followed.
	Paths []string
	// Gateways open ports of this machine to services.
	Gateways []Gateway
	// HTTPAddress is where the HTTP API listens. Default 127.0.0.1:8084.
	HTTPAddress string
	// XDSAddress is where proxies connect. Default: a port of 127.0.0.1 that the
	// system chooses, since nobody but our own proxies has to know it.
	XDSAddress string
	// ProxyPath is the recloser-proxy program. Default: beside this program,
	// else as PATH has it.
	ProxyPath string
	// RecloserPath is the recloser program. Default: this one.
	RecloserPath string
	// State is a folder for what the mesh writes. Default: a temporary one,
	// which is removed at the end.
	State string
	// DataDir keeps metrics over restarts. Default: they are temporary.
	DataDir string
	// Prometheus is the URL of one that scrapes the proxies, in place of the
	// embedded one.
	Prometheus string
	// OneAddress, Settle, HurryTime, Output, Notify: see Config.
	OneAddress        bool
	Settle, HurryTime time.Duration
	// Kill: see Config.
	Kill   <-chan struct{}
	Output io.Writer
	Notify func(Event)
	// Version is what the HTTP API's /version answers.
	Version any
	Logger  *slog.Logger
}

// Up is a whole mesh on this machine: control plane, observer, workloads and
// their sidecars.
type Up struct {
	Plane *plane.Plane
	// Mesh is set when Started is closed.
	Mesh *Mesh

	cfg     UpConfig
	pods    *memory.Source
	started chan struct{}
	http    net.Addr
}

// NewUp makes an Up. It starts nothing.
func NewUp(cfg UpConfig) (*Up, error) {
	if len(cfg.Paths) == 0 {
		return nil, errors.New("there are no manifests")
	}
	if cfg.HTTPAddress == "" {
		cfg.HTTPAddress = observe.DefaultAddress
	}
	if cfg.XDSAddress == "" {
		cfg.XDSAddress = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Up{cfg: cfg, pods: memory.New("recloser up"), started: make(chan struct{})}, nil
}

// Started is closed when the control plane answers and the workloads are being
// started.
func (u *Up) Started() <-chan struct{} { return u.started }

// HTTPAddress is where the HTTP API listens, once Started is closed.
func (u *Up) HTTPAddress() string { return u.http.String() }

// Run runs everything until ctx ends or a part fails, and returns when all that
// it has started has ended: first the workloads, while the control plane still
// answers their sidecars, then the rest.
func (u *Up) Run(ctx context.Context) (err error) {
	state, removeState, err := u.stateFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeState()) }()
	meshCfg, err := u.meshConfig(state)
	if err != nil {
		return err
	}
	if err := u.makePlane(ctx); err != nil {
		return err
	}

	planeCtx, stopPlane := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlane()
	g, running := errgroup.WithContext(planeCtx)
	g.Go(func() error { return u.Plane.Run(running) })
	g.Go(func() error {
		defer stopPlane()
		meshCtx, stopMesh := context.WithCancel(ctx)
		defer stopMesh()
		// The mesh ends with ctx, and also when the plane has failed.
		defer context.AfterFunc(running, stopMesh)()
		return u.runMesh(meshCtx, meshCfg)
	})
	return g.Wait()
}

// makePlane opens the HTTP port, so that one that is taken is told before
// anything is started, and makes the plane.
func (u *Up) makePlane(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", u.cfg.HTTPAddress)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("HTTP API: %s is in use: does another mesh run? Take another address with --http-address", u.cfg.HTTPAddress)
	}
	if err != nil {
		return fmt.Errorf("HTTP API: %w", err)
	}
	u.http = ln.Addr()
	cfg := plane.Config{
		Control: control.Config{
			Sources:    []source.Source{file.New(file.Config{Paths: u.cfg.Paths}), u.pods},
			XDSAddress: u.cfg.XDSAddress, Logger: u.cfg.Logger,
		},
		Observe: observe.Config{
			Address: u.http.String(), Listener: ln,
			Prometheus: u.cfg.Prometheus, Version: u.cfg.Version, Logger: u.cfg.Logger,
		},
	}
	cfg.Observe.Store.Dir = u.cfg.DataDir
	if u.Plane, err = plane.New(cfg); err != nil {
		ln.Close()
		return err
	}
	return nil
}

// runMesh waits for the control plane and runs the workloads.
func (u *Up) runMesh(ctx context.Context, cfg Config) error {
	xds := u.Plane.Control.XDSAddress(ctx)
	if xds == nil || u.Plane.Control.Ready(ctx) != nil {
		return nil // it is ending already
	}
	cfg.XDSAddress, cfg.Worlds = xds.String(), u.Plane.Control
	u.Mesh = New(cfg)
	close(u.started)
	return u.Mesh.Run(ctx)
}

func (u *Up) meshConfig(state string) (Config, error) {
	recloser, err := u.recloserPath()
	if err != nil {
		return Config{}, err
	}
	proxy, err := findProxy(u.cfg.ProxyPath, recloser)
	if err != nil {
		return Config{}, err
	}
	return Config{
		Publish:   u.pods.Set,
		ProxyPath: proxy, RecloserPath: recloser, State: state,
		OneAddress: u.cfg.OneAddress, Settle: u.cfg.Settle, HurryTime: u.cfg.HurryTime, Kill: u.cfg.Kill,
		Gateways: u.cfg.Gateways, Output: u.cfg.Output, Notify: u.cfg.Notify,
		Environ: os.Environ(), Logger: u.cfg.Logger,
	}, nil
}

func (u *Up) recloserPath() (string, error) {
	if u.cfg.RecloserPath != "" {
		return filepath.Abs(u.cfg.RecloserPath)
	}
	return os.Executable()
}

// findProxy finds the recloser-proxy program: where the user says, or beside
// recloser, or in PATH.
func findProxy(said, recloser string) (string, error) {
	const name = "recloser-proxy"
	if said != "" {
		file, err := filepath.Abs(said)
		if err != nil {
			return "", err
		}
		return file, executable(file)
	}
	if real, err := filepath.EvalSymlinks(recloser); err == nil {
		recloser = real
	}
	beside := filepath.Join(filepath.Dir(recloser), name)
	if executable(beside) == nil {
		return beside, nil
	}
	if file, err := exec.LookPath(name); err == nil {
		return filepath.Abs(file)
	}
	return "", fmt.Errorf("%s is not beside %s and not in PATH: build it there, or name it with --proxy", name, recloser)
}

// stateFolder is the folder of the user's choice, or a temporary one.
func (u *Up) stateFolder() (folder string, remove func() error, err error) {
	if u.cfg.State != "" {
		if folder, err = filepath.Abs(u.cfg.State); err != nil {
			return "", nil, err
		}
		return folder, func() error { return nil }, os.MkdirAll(folder, 0o700)
	}
	base := os.TempDir()
	if checkState(base) != nil {
		base = "/tmp" // paths of it go into users' shell scripts
	}
	if folder, err = os.MkdirTemp(base, "recloser-"); err != nil {
		return "", nil, fmt.Errorf("state folder: %w", err)
	}
	return folder, func() error { return os.RemoveAll(folder) }, nil
}
