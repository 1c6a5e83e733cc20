package xds

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// order is make-before-break: what is named comes before what names it, and
// goes after it (Envoy's xDS protocol, "Eventual consistency considerations").
var order = []string{
	translate.ClusterType, translate.EndpointType,
	translate.ListenerType, translate.RouteType, translate.HostType,
}

const (
	// maxOutstanding responses of a type wait for their ACK; a proxy that is
	// slower is told the newest state when it has caught up.
	maxOutstanding = 32
	// maxResponseBytes of resources go into one response, unless a single one
	// is larger: gRPC receivers refuse messages above 4 MiB by default.
	maxResponseBytes = 1 << 20
	// absent is the version of what does not exist.
	absent = "-"
)

// stream is one proxy's connection. Guarded by Server.mu, but for awake and
// log.
type stream struct {
	awake chan struct{} // capacity 1: there may be something to send
	log   *slog.Logger

	node          Node
	self          translate.Node
	types         map[string]*typeState
	subscriptions int
	nonce         uint64
	refused       bool // told once
}

// typeState is what a proxy watches and has of one type.
type typeState struct {
	topics map[string]*topic // by subscribed name
	// sent is what the proxy has, by resource name.
	sent map[string]string
	// dirty are subscribed names to look at; gone are resources to be taken
	// away; excess are names beyond the limit.
	dirty  map[string]struct{}
	gone   map[string]struct{}
	excess map[string]struct{}
	// answer asks for a response even if it is empty.
	answer bool
	// outstanding are responses without an ACK, by nonce: name to version.
	outstanding map[string]map[string]string
	nacks       map[string]nack // by resource name
}

// nack is a resource that the proxy did not take.
type nack struct{ version, message string }

func (st *stream) wake() {
	select {
	case st.awake <- struct{}{}:
	default:
	}
}

func (st *stream) mark(typeURL, name string) {
	if ts := st.types[typeURL]; ts != nil {
		ts.dirty[name] = struct{}{}
		st.wake()
	}
}

// DeltaAggregatedResources serves one proxy until it goes.
func (s *Server) DeltaAggregatedResources(conn discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	first, err := conn.Recv()
	if err != nil {
		return ended(err)
	}
	st, err := s.open(first)
	if err != nil {
		return err
	}
	defer s.close(st)
	s.handle(st, first)
	received := make(chan error, 1)
	// Recv ends when this function returns, since gRPC ends the stream then;
	// the goroutine is waited for by the gRPC server's own stop.
	go func() {
		for {
			req, err := conn.Recv()
			if err != nil {
				received <- err
				return
			}
			s.handle(st, req)
		}
	}()
	for {
		select {
		case err := <-received:
			return ended(err)
		case <-conn.Context().Done():
			return nil
		case <-st.awake:
		}
		for resp := s.respond(st); resp != nil; resp = s.respond(st) {
			if err := conn.Send(resp); err != nil {
				return err
			}
		}
	}
}

// ended makes the usual ends of a stream no errors.
func ended(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}

// open takes the node of a first request.
func (s *Server) open(req *discoveryv3.DeltaDiscoveryRequest) (*stream, error) {
	n, err := readNode(req.GetNode())
	if err != nil {
		return nil, err
	}
	st := &stream{
		awake: make(chan struct{}, 1),
		log:   s.cfg.Logger.With("node", n.ID),
		node:  n,
		self:  translate.Node{Pod: n.Name, Outbound: n.Metadata["OUTBOUND"], Publish: n.Metadata["PUBLISH"]},
		types: map[string]*typeState{},
	}
	s.mu.Lock()
	s.streams[st] = struct{}{}
	s.mu.Unlock()
	st.log.Info("proxy connected", "cluster", n.Cluster)
	return st, nil
}

func (s *Server) close(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ts := range st.types {
		for _, t := range ts.topics {
			s.unsubscribe(st, t)
		}
	}
	delete(s.streams, st)
	st.log.Info("proxy disconnected")
}

// readNode asks for the id POD.NAMESPACE; what its metadata says comes first.
func readNode(n *corev3.Node) (Node, error) {
	if n.GetId() == "" {
		return Node{}, status.Error(codes.InvalidArgument, "the first request must have a node with an id (POD.NAMESPACE)")
	}
	out := Node{ID: n.GetId(), Cluster: n.GetCluster(), Metadata: map[string]string{}, Since: time.Now()}
	for k, v := range n.GetMetadata().GetFields() {
		if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
			out.Metadata[k] = s.StringValue
		}
	}
	if i := strings.LastIndexByte(out.ID, '.'); i >= 0 {
		out.Name = model.Name{Namespace: out.ID[i+1:], Name: out.ID[:i]}
	}
	if ns := out.Metadata["NAMESPACE"]; ns != "" {
		out.Namespace = ns
	}
	if pod := out.Metadata["POD"]; pod != "" {
		out.Name.Name = pod
	}
	out.Admin = out.Metadata["ADMIN"]
	return out, nil
}

// handle takes one request: an ACK or NACK, a change of subscriptions, or both.
func (s *Server) handle(st *stream, req *discoveryv3.DeltaDiscoveryRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	typeURL := req.GetTypeUrl()
	ts := st.types[typeURL]
	names := req.GetResourceNamesSubscribe()
	if ts == nil {
		ts = &typeState{
			topics: map[string]*topic{}, sent: map[string]string{},
			dirty: map[string]struct{}{}, gone: map[string]struct{}{}, excess: map[string]struct{}{},
			outstanding: map[string]map[string]string{}, nacks: map[string]nack{},
		}
		st.types[typeURL] = ts
		maps.Copy(ts.sent, req.GetInitialResourceVersions())
		if len(names) == 0 && (typeURL == translate.ListenerType || typeURL == translate.ClusterType) {
			names = []string{translate.AllListeners} // the old way to say "all"
		}
	}
	st.acknowledge(ts, req)
	for _, name := range names {
		s.watch(st, ts, typeURL, name, req.GetInitialResourceVersions())
	}
	for _, name := range req.GetResourceNamesUnsubscribe() {
		s.unwatch(st, ts, name)
	}
	st.wake()
}

// acknowledge takes an ACK or NACK. One of a response that is not outstanding
// is stale and is not looked at.
func (st *stream) acknowledge(ts *typeState, req *discoveryv3.DeltaDiscoveryRequest) {
	versions, ok := ts.outstanding[req.GetResponseNonce()]
	if !ok {
		return
	}
	delete(ts.outstanding, req.GetResponseNonce())
	e := req.GetErrorDetail()
	for name, version := range versions {
		if e != nil {
			ts.nacks[name] = nack{version, e.GetMessage()}
		} else {
			delete(ts.nacks, name)
		}
	}
	if e != nil {
		st.log.Warn("proxy refused resources", "type", req.GetTypeUrl(),
			"resources", slices.Sorted(maps.Keys(versions)), "reason", e.GetMessage())
	}
}

func (s *Server) watch(st *stream, ts *typeState, typeURL, name string, initial map[string]string) {
	if name == translate.AllListeners && typeURL != translate.ListenerType {
		// Everything else is named. The answer is empty, so that a client that
		// waits for one goes on.
		ts.answer = true
		return
	}
	if ts.topics[name] == nil {
		if st.subscriptions >= s.cfg.MaxSubscriptions {
			ts.excess[name] = struct{}{}
			if !st.refused {
				st.refused = true
				st.log.Warn("proxy subscribes to too much", "limit", s.cfg.MaxSubscriptions, "type", typeURL)
			}
			return
		}
		st.subscriptions++
		ts.topics[name] = s.subscribe(st, translate.KeyFor(typeURL, name, st.self))
	}
	// A name that is subscribed again is sent again: the client asks because
	// it does not have it any more.
	if _, has := initial[name]; !has && name != translate.AllListeners {
		delete(ts.sent, name)
	}
	ts.dirty[name] = struct{}{}
}

func (s *Server) unwatch(st *stream, ts *typeState, name string) {
	t := ts.topics[name]
	if t == nil {
		return
	}
	for res := range t.resources {
		delete(ts.sent, res)
		delete(ts.nacks, res)
	}
	delete(ts.topics, name)
	delete(ts.sent, name)
	delete(ts.dirty, name)
	delete(ts.gone, name)
	delete(ts.nacks, name)
	st.subscriptions--
	s.unsubscribe(st, t)
}

// respond is the next response for a proxy, nil when it has everything.
func (s *Server) respond(st *stream) *discoveryv3.DeltaDiscoveryResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil
	}
	for _, typeURL := range order {
		if ts := st.types[typeURL]; ts != nil && len(ts.outstanding) < maxOutstanding {
			if r := s.additions(st, ts, typeURL); r != nil {
				return r
			}
		}
	}
	for _, typeURL := range slices.Backward(order) {
		if ts := st.types[typeURL]; ts != nil && len(ts.outstanding) < maxOutstanding {
			if r := s.removals(st, ts, typeURL); r != nil {
				return r
			}
		}
	}
	return nil
}

// additions are new and changed resources, and the answers to subscriptions of
// what does not exist. What goes away is kept for removals.
func (s *Server) additions(st *stream, ts *typeState, typeURL string) *discoveryv3.DeltaDiscoveryResponse {
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL}
	size := 0
	for name := range ts.dirty {
		if size >= maxResponseBytes {
			break
		}
		delete(ts.dirty, name)
		t := ts.topics[name]
		for _, res := range t.resources {
			delete(ts.gone, res.Name)
			if ts.sent[res.Name] == res.Version {
				continue
			}
			ts.sent[res.Name] = res.Version
			r.Resources = append(r.Resources, res)
			size += len(res.Resource.Value)
		}
		ts.missing(name, t, r)
	}
	for name := range ts.excess {
		r.RemovedResources = append(r.RemovedResources, name)
		delete(ts.excess, name)
	}
	if len(r.Resources) == 0 && len(r.RemovedResources) == 0 && !ts.answer {
		return nil
	}
	ts.answer = false
	return s.finish(st, ts, r)
}

// missing looks for what the proxy has of a topic and the topic has not.
func (ts *typeState) missing(name string, t *topic, r *discoveryv3.DeltaDiscoveryResponse) {
	if name == translate.AllListeners {
		for have, version := range ts.sent {
			if t.resources[have] == nil && ts.topics[have] == nil && version != absent {
				ts.gone[have] = struct{}{}
			}
		}
		return
	}
	if t.resources[name] != nil {
		return
	}
	switch version, told := ts.sent[name]; {
	case !told:
		ts.sent[name] = absent
		r.RemovedResources = append(r.RemovedResources, name)
	case version != absent:
		ts.gone[name] = struct{}{}
	}
}

func (s *Server) removals(st *stream, ts *typeState, typeURL string) *discoveryv3.DeltaDiscoveryResponse {
	if len(ts.gone) == 0 {
		return nil
	}
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL}
	for name := range ts.gone {
		r.RemovedResources = append(r.RemovedResources, name)
		delete(ts.nacks, name)
		if ts.topics[name] != nil {
			ts.sent[name] = absent
		} else {
			delete(ts.sent, name)
		}
	}
	clear(ts.gone)
	return s.finish(st, ts, r)
}

// finish gives a response its nonce and remembers it until it is acknowledged.
func (s *Server) finish(st *stream, ts *typeState, r *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryResponse {
	slices.SortFunc(r.Resources, func(a, b *discoveryv3.Resource) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(r.RemovedResources)
	st.nonce++
	r.Nonce = strconv.FormatUint(st.nonce, 10)
	versions := make(map[string]string, len(r.Resources))
	for _, res := range r.Resources {
		versions[res.Name] = res.Version
	}
	ts.outstanding[r.Nonce] = versions
	s.stats.Responses++
	s.stats.Resources += uint64(len(r.Resources))
	s.stats.Removed += uint64(len(r.RemovedResources))
	return r
}

// Nodes are the connected proxies, by id.
func (s *Server) Nodes() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Node, 0, len(s.streams))
	for st := range s.streams {
		n := st.node
		n.Metadata = maps.Clone(n.Metadata)
		n.Subscriptions = st.subscriptions
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Findings are the resources that proxies have refused and still have not
// taken in a newer version.
func (s *Server) Findings() []lint.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []lint.Finding
	for st := range s.streams {
		for typeURL, ts := range st.types {
			for name, n := range ts.nacks {
				out = append(out, lint.Finding{
					Code: "refused-by-proxy", Severity: lint.Error, Object: "proxy/" + st.node.ID,
					Field: typeURL[strings.LastIndexByte(typeURL, '.')+1:], Value: name,
					Reason: "the proxy refused this and keeps what it had: " + n.message,
					Mend:   "this is a fault of Recloser or a proxy of another version; please report it",
				})
			}
		}
	}
	return out
}
