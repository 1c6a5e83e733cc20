package xds

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
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
	// maxNameBytes of a subscribed name; a longer one does not exist.
	maxNameBytes = 4 << 10
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
	warming       warming
}

// typeState is what a proxy watches and has of one type.
type typeState struct {
	topics map[string]*topic // by subscribed name
	// implied are those of topics that are subscribed because "*" stands for
	// them, and not by name.
	implied map[string]struct{}
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

	world // for the state-of-the-world variant
}

// nack is a resource that the proxy did not take.
type nack struct{ version, message string }

func (st *stream) wake() {
	select {
	case st.awake <- struct{}{}:
	default:
	}
}

// of is the state of a type, which is made if there is none.
func (st *stream) of(typeURL string) (ts *typeState, first bool) {
	if ts = st.types[typeURL]; ts != nil {
		return ts, false
	}
	ts = &typeState{
		topics: map[string]*topic{}, implied: map[string]struct{}{}, sent: map[string]string{},
		dirty: map[string]struct{}{}, gone: map[string]struct{}{}, excess: map[string]struct{}{},
		outstanding: map[string]map[string]string{}, nacks: map[string]nack{},
	}
	st.types[typeURL] = ts
	return ts, true
}

// mark notes that a topic of a stream is different.
func (s *Server) mark(st *stream, t *topic) {
	ts := st.types[t.key.Type]
	if ts == nil {
		return
	}
	ts.dirty[t.key.Name] = struct{}{}
	if isSet(t.key) {
		s.imply(st, ts, t)
	}
	st.wake()
}

// isSet tells whether a topic stands for others.
func isSet(k translate.Key) bool {
	return k.Name == translate.All && k.Type == translate.ClusterType
}

// imply subscribes a stream to what "*" stands for now, and to nothing that it
// stood for before.
func (s *Server) imply(st *stream, ts *typeState, set *topic) {
	for name := range ts.implied {
		if _, still := slices.BinarySearch(set.names, name); still {
			continue
		}
		delete(ts.implied, name)
		t := ts.topics[name]
		delete(ts.topics, name)
		delete(ts.dirty, name)
		if version, has := ts.sent[name]; has && version != absent {
			ts.gone[name] = struct{}{}
		}
		s.unsubscribe(st, t)
	}
	for _, name := range set.names {
		if ts.topics[name] == nil {
			ts.implied[name] = struct{}{}
			ts.topics[name] = s.subscribe(st, translate.KeyFor(set.key.Type, name, st.self))
			ts.dirty[name] = struct{}{}
		}
	}
}

// open takes the node of a first request.
func (s *Server) open(node *corev3.Node) (*stream, error) {
	n, err := readNode(node)
	if err != nil {
		return nil, err
	}
	shape := translate.ShapeOf(node.GetUserAgentName(), node.GetUserAgentVersion())
	n.Shape = shape.String()
	st := &stream{
		awake: make(chan struct{}, 1),
		log:   s.cfg.Logger.With("node", n.ID),
		node:  n,
		self: translate.Node{
			Pod:      n.Name,
			Client:   model.Client{Namespace: n.Name.Namespace, Workload: n.Metadata["WORKLOAD"], Kind: n.Metadata["WORKLOAD_KIND"]},
			Outbound: n.Metadata["OUTBOUND"], Publish: n.Metadata["PUBLISH"], Shape: shape,
			Locality: model.Locality{Region: node.GetLocality().GetRegion(), Zone: node.GetLocality().GetZone(), SubZone: node.GetLocality().GetSubZone()},
		},
		types: map[string]*typeState{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) >= s.cfg.MaxStreams {
		return nil, status.Errorf(codes.ResourceExhausted, "the control plane serves %d streams, which is its limit; come again", s.cfg.MaxStreams)
	}
	s.streams[st] = struct{}{}
	st.log.Info("proxy connected", "cluster", n.Cluster, "client", n.Shape)
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

// acknowledge takes an ACK or NACK. One of a response that is not outstanding
// is stale and is not looked at.
func (st *stream) acknowledge(typeURL string, ts *typeState, nonce string, refused *string) {
	versions, ok := ts.outstanding[nonce]
	if !ok {
		return
	}
	delete(ts.outstanding, nonce)
	st.warming.acknowledged(typeURL, versions, refused != nil)
	if refused != nil {
		versions = blamed(versions, *refused)
	}
	for name, version := range versions {
		if refused != nil {
			ts.nacks[name] = nack{version, *refused}
		} else {
			delete(ts.nacks, name)
		}
	}
	if refused != nil {
		st.log.Warn("proxy refused resources", "type", typeURL,
			"resources", slices.Sorted(maps.Keys(versions)), "reason", *refused)
	}
}

// blamed are those resources of a refused response that the refusal names, or
// all where it names none.
func blamed(versions map[string]string, message string) map[string]string {
	out := map[string]string{}
	for name, version := range versions {
		if named(message, name) {
			out[name] = version
		}
	}
	if len(out) == 0 {
		return versions
	}
	return out
}

// named tells whether a message has a name that is no part of a longer one.
func named(message, name string) bool {
	inside := func(c byte) bool {
		return c == '|' || c == '.' || c == '-' || c == '_' || c == '/' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	for at := 0; ; at++ {
		i := strings.Index(message[at:], name)
		if i < 0 {
			return false
		}
		at += i
		end := at + len(name)
		if (at == 0 || !inside(message[at-1])) && (end == len(message) || !inside(message[end])) {
			return true
		}
	}
}

// watch subscribes a stream to a name. again: it does not have it any more, and
// is to be sent it whatever it has been sent.
func (s *Server) watch(st *stream, ts *typeState, typeURL, name string, again bool) {
	if name == translate.All && typeURL != translate.ListenerType && (typeURL != translate.ClusterType || st.self.Shape != translate.Envoy) {
		// Everything else is named. The answer is empty, so that a client that
		// waits for one goes on.
		ts.answer = true
		return
	}
	if _, implied := ts.implied[name]; implied {
		delete(ts.implied, name)
		st.subscriptions++
	} else if ts.topics[name] == nil {
		if st.subscriptions >= s.cfg.MaxSubscriptions || len(name) > maxNameBytes {
			s.refuse(st, ts, typeURL, name)
			return
		}
		st.subscriptions++
		t := s.subscribe(st, translate.KeyFor(typeURL, name, st.self))
		ts.topics[name] = t
		if isSet(t.key) {
			ts.answer = true
			s.imply(st, ts, t)
		}
	}
	if again && name != translate.All {
		delete(ts.sent, name)
	}
	ts.dirty[name] = struct{}{}
}

// refuse takes a name as one that does not exist.
func (s *Server) refuse(st *stream, ts *typeState, typeURL, name string) {
	ts.excess[name] = struct{}{}
	if !st.refused {
		st.refused = true
		st.log.Warn("proxy subscribes to too much", "limit", s.cfg.MaxSubscriptions, "longest_name", maxNameBytes, "type", typeURL)
	}
}

func (s *Server) unwatch(st *stream, ts *typeState, name string) {
	t := ts.topics[name]
	if _, implied := ts.implied[name]; t == nil || implied {
		return
	}
	st.subscriptions--
	for _, all := range ts.topics {
		if _, still := slices.BinarySearch(all.names, name); isSet(all.key) && still {
			ts.implied[name] = struct{}{} // "*" stands for it all the same
			return
		}
	}
	for res := range t.resources {
		delete(ts.sent, res)
		delete(ts.nacks, res)
		delete(ts.full, res)
	}
	if isSet(t.key) {
		s.imply(st, ts, &topic{key: t.key})
	}
	ts.forget(name)
	s.unsubscribe(st, t)
}

// forget a name that is not watched any more.
func (ts *typeState) forget(name string) {
	delete(ts.topics, name)
	delete(ts.sent, name)
	delete(ts.dirty, name)
	delete(ts.gone, name)
	delete(ts.nacks, name)
	delete(ts.full, name)
}

// busy tells whether there is something new to be told, of any type.
func (st *stream) busy() bool {
	for _, typeURL := range order {
		if ts := st.types[typeURL]; ts != nil && len(ts.dirty) > 0 {
			return true
		}
	}
	return false
}
