package xds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/fsnotify/fsnotify"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	// Messages within resources: proto-JSON can only read what is linked in.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/on_demand/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	_ "github.com/reclosermesh/recloser/api/breaker/v1" // as above
	"github.com/reclosermesh/recloser/internal/proxy/domains"
)

// settle is how long a file must be quiet before it is read: editors and
// deployment tools write in several steps. One that is never quiet is read after
// settleAtMost.
const (
	settle       = 50 * time.Millisecond
	settleAtMost = time.Second
)

// FileConfig of a File.
type FileConfig struct {
	// Path of a YAML or JSON file: a list "resources" of xDS resources in
	// proto-JSON, each with its "@type". Required.
	Path string
	// Sink takes the updates. Required.
	Sink   Sink
	Logger *slog.Logger
}

// File serves the resources of one file as a control plane would. The file is
// read again when it changes; a file that cannot be read or understood leaves
// the last good state.
type File struct {
	cfg  FileConfig
	subs *subscriptions

	// Owned by Run.
	have map[Type]map[string]proto.Message
	told map[Type]map[string]proto.Message // what the Sink has; nil: that it is absent
	seq  int
}

// NewFile makes a File. It reads nothing before Run.
func NewFile(cfg FileConfig) *File {
	f := &File{cfg: cfg, subs: newSubscriptions(), told: make(map[Type]map[string]proto.Message)}
	for _, t := range types {
		f.told[t] = make(map[string]proto.Message)
	}
	return f
}

// Subscribe asks for resources by name.
func (f *File) Subscribe(t Type, names ...string) { f.subs.subscribe(t, names) }

// Unsubscribe ends what Subscribe began.
func (f *File) Unsubscribe(t Type, names ...string) { f.subs.unsubscribe(t, names) }

// Run serves until ctx ends. A file that is wrong at the start is an error;
// later it is only logged.
func (f *File) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("resources %s: watch: %w", f.cfg.Path, err)
	}
	defer watcher.Close()
	// The folder, not the file: replacing by rename and switching a symbolic
	// link, as Kubernetes does for a ConfigMap, end the watch of a file.
	if err := watcher.Add(filepath.Dir(f.cfg.Path)); err != nil {
		return fmt.Errorf("resources %s: watch: %w", f.cfg.Path, err)
	}
	if f.have, err = readResources(f.cfg.Path); err != nil {
		return err
	}
	changed := time.NewTimer(time.Hour)
	changed.Stop()
	defer changed.Stop()
	var since time.Time // of the first change that was not read yet
	for {
		f.tell()
		select {
		case <-ctx.Done():
			return nil
		case <-f.subs.wake:
			f.forget()
		case event := <-watcher.Events:
			if !f.concerns(event.Name) {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			}
			changed.Reset(max(0, min(settle, settleAtMost-time.Since(since))))
		case err := <-watcher.Errors:
			f.cfg.Logger.Warn("watching the resources failed", "path", f.cfg.Path, "error", err)
		case <-changed.C:
			since = time.Time{}
			have, err := readResources(f.cfg.Path)
			if err != nil {
				f.cfg.Logger.Error("resources are wrong; the last good ones stay", "error", err)
				continue
			}
			f.have = have
		}
	}
}

// concerns tells whether a change in the file's folder may be one of the file:
// of itself, or of the hidden links by which Kubernetes switches a ConfigMap.
func (f *File) concerns(changed string) bool {
	name := filepath.Base(changed)
	return name == filepath.Base(f.cfg.Path) || strings.HasPrefix(name, "..")
}

// forget drops what is no longer wanted from what the Sink is known to have.
func (f *File) forget() {
	for _, r := range f.subs.changes() {
		for _, n := range r.GetResourceNamesUnsubscribe() {
			delete(f.told[Type(r.GetTypeUrl())], n)
		}
	}
}

// tell sends the Sink what differs from what it has, until nothing does: what
// it gets makes it ask for more.
func (f *File) tell() {
	for _, t := range types {
		u := Update{Type: t}
		for name, m := range f.wantedOf(t) {
			have, known := f.told[t][name]
			switch {
			case m == nil && (!known || have != nil):
				u.Removed = append(u.Removed, name)
			case m != nil && (have == nil || !proto.Equal(have, m)):
				f.seq++
				u.Set = append(u.Set, Resource{Name: name, Version: fmt.Sprint(f.seq), Message: m})
			default:
				continue
			}
			f.told[t][name] = m
		}
		if len(u.Set)+len(u.Removed) == 0 {
			continue
		}
		slices.SortFunc(u.Set, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
		slices.Sort(u.Removed)
		for _, r := range f.cfg.Sink.Apply(u) {
			f.cfg.Logger.Error("resource rejected; the last good one stays", "path", f.cfg.Path, "type", t.String(), "name", r.Name, "error", r.Err)
		}
	}
}

// wantedOf gives each wanted name with its resource, nil where there is none.
func (f *File) wantedOf(t Type) map[string]proto.Message {
	f.subs.mu.Lock()
	names := slices.Collect(maps.Keys(f.subs.wanted[t]))
	f.subs.mu.Unlock()
	wanted := make(map[string]proto.Message)
	for _, name := range names {
		switch {
		case name == Wildcard:
			for told := range f.told[t] {
				wanted[told] = nil
			}
			maps.Copy(wanted, f.have[t])
		case t == VirtualHost:
			wanted[name] = f.virtualHost(name)
		default:
			wanted[name] = f.have[t][name]
		}
	}
	return wanted
}

// virtualHost finds the host for ROUTE-CONFIGURATION/AUTHORITY by its domains.
func (f *File) virtualHost(name string) proto.Message {
	_, authority, ok := strings.Cut(name, "/")
	if !ok {
		return nil
	}
	var table domains.Table[proto.Message]
	for _, host := range f.have[VirtualHost] {
		for _, d := range host.(*routev3.VirtualHost).GetDomains() {
			_ = table.Add(d, host) // checked by readResources
		}
	}
	if m, found := table.Match([]byte(authority)); found {
		return m
	}
	return nil
}

// readResources reads and decodes a whole file, and says everything that is
// wrong with it.
func readResources(path string) (map[Type]map[string]proto.Message, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("resources: %w", err)
	}
	var list struct {
		Resources []json.RawMessage `json:"resources"`
	}
	if err := yaml.UnmarshalStrict(text, &list); err != nil {
		return nil, fmt.Errorf("resources %s: %w", path, err)
	}
	have := make(map[Type]map[string]proto.Message)
	var hosts domains.Table[int]
	var errs []error
	for i, raw := range list.Resources {
		t, m, err := readResource(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("resources %s: resources[%d]: %w", path, i, err))
			continue
		}
		name := resourceName(m)
		switch {
		case name == "":
			err = fmt.Errorf("%s: name: must not be empty", t)
		case have[t][name] != nil:
			err = fmt.Errorf("%s %q: is there twice", t, name)
		}
		if host, ok := m.(*routev3.VirtualHost); ok {
			for _, d := range host.GetDomains() {
				err = errors.Join(err, hosts.Add(d, i))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("resources %s: resources[%d]: %w", path, i, err))
			continue
		}
		if have[t] == nil {
			have[t] = make(map[string]proto.Message)
		}
		have[t][name] = m
	}
	return have, errors.Join(errs...)
}

func readResource(raw json.RawMessage) (Type, proto.Message, error) {
	var body anypb.Any
	if err := protojson.Unmarshal(raw, &body); err != nil {
		return "", nil, err
	}
	t := Type(body.GetTypeUrl())
	m, err := decode(t, &body)
	return t, m, err
}
