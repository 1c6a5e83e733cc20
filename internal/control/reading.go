package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Reading is everything that a control plane has read, in a form that another
// program can make the same World and policy of: `recloser explain` and its
// like answer for a mesh that runs with the code that they answer for files
// with. Secrets and ConfigMaps are not read, so none is in a Reading; what
// workloads have in their arguments and environment is: it is for those who may
// read the manifests.
type Reading struct {
	// Objects by kind, namespace and name, each once, with the annotations that
	// were set while the mesh runs.
	Objects []ReadObject `json:"objects"`
	// Problems are what sources refused or passed over, and what proxies
	// refused. What follows from the objects is not among them.
	Problems []lint.Finding `json:"problems"`
	// RootNamespace is where the rules for the whole mesh are; empty:
	// policy.RootNamespace.
	RootNamespace string `json:"rootNamespace,omitempty"`
	// Memory is what holds although the objects do not say it any more.
	Memory Memory `json:"memory,omitzero"`
}

// ReadObject is one object, as JSON with its apiVersion and kind, and where it
// was written.
type ReadObject struct {
	Object json.RawMessage `json:"object"`
	Origin *source.Origin  `json:"origin,omitempty"`
}

// Memory are the last good values of objects that say something by now that
// cannot be.
type Memory struct {
	Ports    []model.Remembered  `json:"ports,omitempty"`
	Services []policy.Remembered `json:"services,omitempty"`
}

// Reading is what the control plane has read until now. The error is of an
// object that cannot be written as JSON, which is a fault of the program.
func (c *Control) Reading() (*Reading, error) {
	s := c.state.Load()
	return readingOf(s.view.World, s.view.Policy, slices.Concat(s.problems, c.xds.Findings()))
}

func readingOf(w *model.World, t *policy.Table, problems []lint.Finding) (*Reading, error) {
	objects := w.AllObjects()
	r := &Reading{
		Objects:       make([]ReadObject, len(objects)),
		Problems:      append([]lint.Finding{}, problems...),
		RootNamespace: t.RootNamespace(),
		Memory:        Memory{Ports: w.Memory(), Services: t.Memory()},
	}
	for i := range objects {
		raw, err := source.Encode(&objects[i])
		if err != nil {
			return nil, err
		}
		r.Objects[i] = ReadObject{raw, objects[i].Origin}
	}
	return r, nil
}

// Restore makes the World and the policy that a Reading was taken of. Objects
// that this program cannot read are an error: it would answer wrongly without
// them.
func Restore(r *Reading) (*Offline, error) {
	objects := make([]source.Object, 0, len(r.Objects))
	var errs []error
	for i := range r.Objects {
		o, err := source.Restore(r.Objects[i].Object, r.Objects[i].Origin)
		if err != nil {
			errs = append(errs, fmt.Errorf("object %d of the control plane: %w", i, err))
			continue
		}
		objects = append(objects, o)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	o := &Offline{World: model.Restore(objects, r.Memory.Ports)}
	o.Policy = policy.Restore(policy.New(r.RootNamespace), o.World, r.Memory.Services)
	o.Findings = findings(r.Problems, o.World, o.Policy)
	return o, nil
}

// ClientOf is the client that people name as deploy/web, workload/web or
// pod/web-1, in a namespace. An empty name is any client of the namespace.
func (o *Offline) ClientOf(name, namespace string) (model.Client, error) {
	if name == "" {
		return model.Client{Namespace: namespace}, nil
	}
	kind, rest, ok := strings.Cut(name, "/")
	if !ok || rest == "" {
		return model.Client{}, fmt.Errorf("%q: name a caller as deploy/NAME, workload/NAME or pod/NAME", name)
	}
	key, err := keyOf(kind, namespace, rest)
	switch {
	case err != nil || key.Kind == source.Service || key.Kind == source.Namespace:
		return model.Client{}, fmt.Errorf("%q: a caller is a deployment, a workload or a pod: deploy/NAME, workload/NAME, pod/NAME", name)
	case o.World.Has(key) && key.Kind == source.Pod:
		return o.World.ClientOf(model.Name{Namespace: key.Namespace, Name: key.Name}), nil
	case o.World.Has(key):
		return model.Client{Namespace: key.Namespace, Workload: key.Name, Kind: string(key.Kind)}, nil
	}
	var names []string
	for _, other := range o.World.Objects(key.Kind) {
		if other.Namespace == key.Namespace {
			names = append(names, other.Name)
		}
	}
	if near := source.Nearest(key.Name, names); near != "" {
		return model.Client{}, fmt.Errorf("there is no %s; did you mean %s/%s?", key, kind, near)
	}
	return model.Client{}, fmt.Errorf("there is no %s", key)
}
