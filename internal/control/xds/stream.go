package xds

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

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
		self:  translate.Node{Pod: n.Name, Client: model.Client{Namespace: n.Name.Namespace, Workload: n.Metadata["WORKLOAD"], Kind: n.Metadata["WORKLOAD_KIND"]}, Outbound: n.Metadata["OUTBOUND"], Publish: n.Metadata["PUBLISH"]},
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
