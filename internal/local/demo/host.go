package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/reclosermesh/recloser/internal/lab/apps"
	"github.com/reclosermesh/recloser/internal/local"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

// Play starts a mesh with Manifest, runs the demo on it, and ends the mesh. Of
// up, all but Paths is the caller's.
func Play(ctx context.Context, up local.UpConfig, pace Pace, show *Show) (*Result, error) {
	folder, err := os.MkdirTemp("", "recloser-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "circuit-breaking.yaml")
	if err := os.WriteFile(file, Manifest, 0o600); err != nil {
		return nil, err
	}
	up.Paths = []string{file}
	mesh, err := local.NewUp(up)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var meshErr error
	running.Go(func() {
		defer cancel() // without a mesh there is no demo
		meshErr = mesh.Run(ctx)
	})
	result, err := play(ctx, mesh, pace, show)
	cancel()
	running.Wait()
	if meshErr != nil {
		err = errors.Join(fmt.Errorf("the mesh: %w", meshErr), err)
	}
	return result, err
}

func play(ctx context.Context, mesh *local.Up, pace Pace, show *Show) (*Result, error) {
	select {
	case <-mesh.Started():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	api, err := client.New("http://" + mesh.HTTPAddress())
	if err != nil {
		return nil, err
	}
	defer api.Close()
	show.Note("the mesh answers on http://" + mesh.HTTPAddress() + ": the other commands work on it meanwhile")
	return Run(ctx, Config{
		Mesh: api,
		Fail: func(ctx context.Context, deployment string, percent int64) error {
			in, err := instanceOf(mesh.Mesh, deployment)
			if err != nil {
				return err
			}
			return apps.TurnKnob(ctx, in.Knobs, "percent-failure", percent)
		},
		Outbound: func(deployment string) (string, error) {
			in, err := instanceOf(mesh.Mesh, deployment)
			return in.Outbound.String(), err
		},
		Pace: pace, Show: show,
	})
}

func instanceOf(m *local.Mesh, deployment string) (local.Instance, error) {
	for _, in := range m.Instances() {
		if in.Workload == deployment && !in.Draining {
			return in, nil
		}
	}
	return local.Instance{}, fmt.Errorf("deployment %s has no instance", deployment)
}
