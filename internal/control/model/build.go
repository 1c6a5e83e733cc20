package model

import (
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Build makes the World of the given objects, each key at most once. It takes
// over from prev (which may be nil) everything that did not change, which it
// sees by the pointers of Value and Origin.
func Build(prev *World, objects []source.Object) *World {
	if prev == nil {
		prev = &World{}
	}
	w := &World{objects: make(map[source.Key]source.Object, len(objects)), clusterIPs: prev.clusterIPs, rules: prev.rules, anyRules: prev.anyRules, hostRules: prev.hostRules}
	w.namespaces = maps.Clone(prev.namespaces)
	if w.namespaces == nil {
		w.namespaces = map[string]*Namespace{}
	}
	b := &builder{prev: prev, world: w, touched: map[string]*namespaceBuilder{}}
	for _, o := range objects {
		w.objects[o.Key] = o
		if old, ok := prev.objects[o.Key]; !ok || old != o {
			b.change(o.Key)
		}
	}
	for k := range prev.objects {
		if _, ok := w.objects[k]; !ok {
			b.change(k)
		}
	}
	b.finish()
	return w
}

type builder struct {
	prev, world *World
	touched     map[string]*namespaceBuilder
	rulesCopied bool // the World's rules are its own
	allDirty    bool // a rule changed that may be about any service
}

// namespaceBuilder is a namespace while it is made anew.
type namespaceBuilder struct {
	*Namespace
	world *World          // that is being made
	dirty map[string]bool // services to be made anew
	// changedPods and changedOwners are pods, and Workloads that own or owned
	// them, by name.
	changedPods, changedOwners map[string]bool
	// relabelled are label sets, before and after, of instances that changed.
	relabelled []map[string]string
	// renew: what the Namespace says of its ports has changed, which concerns
	// all services and pods.
	renew bool

	// Set by index, for service.
	byService map[string][]*discoveryv1.EndpointSlice
	podList   []*Pod
	podLabels LabelIndex
}

// change takes over one object that is new, different, or gone.
func (b *builder) change(k source.Key) {
	o, exists := b.world.objects[k]
	old, existed := b.prev.objects[k]
	if isRule(o) || isRule(old) {
		b.changeRule(k)
		if k.Kind != source.Namespace {
			return
		}
	}
	b.changeLabels(o, old, exists)
	switch k.Kind {
	case source.Deployment:
		return // of them, labels alone are looked at
	case source.Node:
		b.changeNode(o, old)
		return
	case source.Namespace:
		if annotation(o) != annotation(old) {
			b.namespace(k.Name).renew = true
		}
		return
	}
	n := b.namespace(k.Namespace)
	switch k.Kind {
	case source.Service:
		n.dirty[k.Name] = true
	case source.Pod:
		n.podChanges(n.pods[k.Name])
		delete(n.pods, k.Name)
		if exists {
			p := newPod(o)
			n.pods[k.Name] = p
			n.podChanges(p)
		}
	case source.EndpointSlice:
		delete(n.slices, k.Name)
		if exists {
			n.slices[k.Name] = &o
			n.dirty[sliceService(o)] = true
		}
		if existed {
			n.dirty[sliceService(old)] = true
		}
	case source.Workload:
		delete(n.workloads, k.Name)
		if exists {
			n.workloads[k.Name] = &o
			n.relabelled = append(n.relabelled, workloadOf(o).InstanceLabels())
		}
		if existed {
			n.relabelled = append(n.relabelled, workloadOf(old).InstanceLabels())
		}
	}
}

// changeNode takes over where a Node is, which is where its pods are. Its status
// changes all the time, and does not matter.
func (b *builder) changeNode(o, old source.Object) {
	labels := func(o source.Object) map[string]string {
		if n, ok := o.Value.(*corev1.Node); ok {
			return n.Labels
		}
		return nil
	}
	if LocalityOf(labels(o)) != LocalityOf(labels(old)) {
		b.allDirty = true
	}
}

// podChanges notes a pod as it was or as it will be.
func (n *namespaceBuilder) podChanges(p *Pod) {
	if p == nil {
		return
	}
	n.changedPods[p.Name.Name] = true
	n.relabelled = append(n.relabelled, p.Spec.Labels)
	if p.WorkloadKind == string(source.Workload) {
		n.changedOwners[p.Workload] = true
	}
}

// spread finds the services that a change concerns other than by name.
func (n *namespaceBuilder) spread() {
	// The first and the last instance of a Workload decide whether its
	// addresses are endpoints.
	for owner := range n.changedOwners {
		if o := n.workloads[owner]; o != nil {
			n.relabelled = append(n.relabelled, workloadOf(*o).InstanceLabels())
		}
	}
	relabelled := NewLabelIndex(n.relabelled)
	for svc, s := range n.services {
		if !n.dirty[svc] && relabelled.Any(s.Spec.Spec.Selector) {
			n.dirty[svc] = true
		}
	}
	if len(n.changedPods) == 0 {
		return
	}
	// Endpoints of slices have the owner of the pod that they refer to.
	for _, o := range n.slices {
		for _, e := range o.Value.(*discoveryv1.EndpointSlice).Endpoints {
			if e.TargetRef != nil && n.changedPods[e.TargetRef.Name] {
				n.dirty[sliceService(*o)] = true
				break
			}
		}
	}
}

// renewAll makes all pods and services anew.
func (n *namespaceBuilder) renewAll() {
	for name, p := range n.pods {
		n.pods[name] = newPod(p.Object)
	}
	for name := range n.services {
		n.dirty[name] = true
	}
}

// namespace is a namespace that may be changed.
func (b *builder) namespace(name string) *namespaceBuilder {
	if n := b.touched[name]; n != nil {
		return n
	}
	old := b.prev.namespaces[name]
	n := &namespaceBuilder{
		Namespace: &Namespace{Name: name}, world: b.world,
		dirty: map[string]bool{}, changedPods: map[string]bool{}, changedOwners: map[string]bool{},
	}
	if old != nil {
		n.opaque = old.opaque
		n.services, n.pods = maps.Clone(old.services), maps.Clone(old.pods)
		n.slices, n.workloads = maps.Clone(old.slices), maps.Clone(old.workloads)
		n.clients = maps.Clone(old.clients)
	} else {
		n.services, n.pods = map[string]*Service{}, map[string]*Pod{}
		n.slices, n.workloads = map[string]*source.Object{}, map[string]*source.Object{}
	}
	if n.clients == nil {
		n.clients = map[Client]*labelSet{}
	}
	b.touched[name] = n
	return n
}

// touchAll makes all services anew.
func (b *builder) touchAll() {
	for name, n := range b.world.namespaces {
		touched := b.namespace(name)
		for svc := range n.services {
			touched.dirty[svc] = true
		}
	}
}

// finish makes the services anew that something has changed for.
func (b *builder) finish() {
	ipsChanged := false
	if b.allDirty {
		b.touchAll()
	}
	for name, n := range b.touched {
		n.opaque = declare(b.world.objects[source.Key{Kind: source.Namespace, Name: name}], n.opaque)
		if n.renew {
			n.renewAll()
		}
		n.spread()
		n.index()
		for svc := range n.dirty {
			k := source.Key{Kind: source.Service, Namespace: name, Name: svc}
			o, exists := b.world.objects[k]
			old := n.services[svc]
			delete(n.services, svc)
			if exists {
				n.services[svc] = n.service(o, old)
			}
			ipsChanged = ipsChanged || b.prev.objects[k] != o
		}
		n.selecting = sync.OnceValue(n.selectors)
		if len(n.services)+len(n.pods)+len(n.slices)+len(n.workloads)+len(n.clients) == 0 {
			delete(b.world.namespaces, name)
			continue
		}
		b.world.namespaces[name] = n.Namespace
	}
	if ipsChanged || b.world.clusterIPs == nil {
		b.world.indexIPs()
	}
}

func (w *World) indexIPs() {
	w.clusterIPs = map[string]Name{}
	for _, n := range w.namespaces {
		for _, s := range n.services {
			for _, ip := range s.ClusterIPs() {
				// Two services with one address: the first by name, so that
				// the order of maps decides nothing.
				if have, ok := w.clusterIPs[ip]; !ok || compareNames(s.Name, have) < 0 {
					w.clusterIPs[ip] = s.Name
				}
			}
		}
	}
}

// ClusterIPs are the Service's own addresses; none for a headless one.
func (s *Service) ClusterIPs() []string {
	ips := s.Spec.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.Spec.ClusterIP}
	}
	var out []string
	for _, ip := range ips {
		if ip != "" && ip != corev1.ClusterIPNone {
			out = append(out, ip)
		}
	}
	return out
}

func sliceService(o source.Object) string {
	return o.Value.(*discoveryv1.EndpointSlice).Labels[discoveryv1.LabelServiceName]
}

// Changes are what is different between two Worlds. Among Services are also
// hosts that are none; see HostOf and AnyHost.
type Changes struct {
	Services, Pods []Name
	// Clients have other labels now, or are new or gone.
	Clients []Client
}

// Diff compares by identity: what is named may be equal in content, what is
// not named is the same.
func Diff(old, new *World) Changes {
	var c Changes
	names := map[string]bool{}
	for n := range old.namespaces {
		names[n] = true
	}
	for n := range new.namespaces {
		names[n] = true
	}
	for name := range names {
		a, b := old.namespaces[name], new.namespaces[name]
		if a == b {
			continue
		}
		if a == nil {
			a = &Namespace{}
		}
		if b == nil {
			b = &Namespace{}
		}
		named := func(k string) Name { return Name{name, k} }
		c.Services = appendChanged(c.Services, a.services, b.services, named)
		c.Pods = appendChanged(c.Pods, a.pods, b.pods, named)
		c.Clients = appendChanged(c.Clients, a.clients, b.clients, func(k Client) Client { return k })
	}
	c.Services = append(c.Services, changedHosts(old, new)...)
	return c
}

func appendChanged[K comparable, T, N any](out []N, a, b map[K]*T, name func(K) N) []N {
	for k, v := range b {
		if a[k] != v {
			out = append(out, name(k))
		}
	}
	for k := range a {
		if b[k] == nil {
			out = append(out, name(k))
		}
	}
	return out
}
