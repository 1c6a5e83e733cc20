// Package xdstest is a delta xDS client for tests: it subscribes, keeps what
// it was told, and acknowledges or refuses as the test says.
package xdstest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
)

// Client is one simulated proxy.
type Client struct {
	conn   *grpc.ClientConn
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	resources map[string]map[string]*discoveryv3.Resource // by type and name
	removed   map[string]map[string]bool
	responses []*discoveryv3.DeltaDiscoveryResponse
	changed   chan struct{} // closed and replaced at each response
	err       error
	// Refuse says why a response is not taken; "" takes it.
	refuse func(*discoveryv3.DeltaDiscoveryResponse) string
	node   *corev3.Node
}

// Node makes the node of an instance.
func Node(pod, namespace string, metadata map[string]string) *corev3.Node {
	m := map[string]any{"NAMESPACE": namespace, "POD": pod}
	for k, v := range metadata {
		m[k] = v
	}
	s, err := structpb.NewStruct(m)
	if err != nil {
		panic(err)
	}
	return &corev3.Node{Id: pod + "." + namespace, Cluster: pod + "." + namespace, Metadata: s}
}

// Dial connects. refuse may be nil.
func Dial(ctx context.Context, address string, node *corev3.Node, refuse func(*discoveryv3.DeltaDiscoveryResponse) string) (*Client, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		cancel()
		_ = conn.Close()
		return nil, err
	}
	c := &Client{
		conn: conn, stream: stream, cancel: cancel, done: make(chan struct{}), node: node, refuse: refuse,
		resources: map[string]map[string]*discoveryv3.Resource{}, removed: map[string]map[string]bool{},
		changed: make(chan struct{}),
	}
	go c.run()
	return c, nil
}

// Close ends the connection and waits.
func (c *Client) Close() {
	c.cancel()
	<-c.done
	_ = c.conn.Close()
}

func (c *Client) run() {
	defer close(c.done)
	for {
		r, err := c.stream.Recv()
		c.mu.Lock()
		if err != nil {
			c.err = err
			close(c.changed)
			c.changed = make(chan struct{})
			c.mu.Unlock()
			return
		}
		ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
		if c.refuse != nil {
			if why := c.refuse(r); why != "" {
				ack.ErrorDetail = &status.Status{Code: 3, Message: why}
			}
		}
		if ack.ErrorDetail == nil {
			c.take(r)
		}
		_ = c.stream.Send(ack)
		c.responses = append(c.responses, r)
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

func (c *Client) take(r *discoveryv3.DeltaDiscoveryResponse) {
	if c.resources[r.TypeUrl] == nil {
		c.resources[r.TypeUrl] = map[string]*discoveryv3.Resource{}
		c.removed[r.TypeUrl] = map[string]bool{}
	}
	for _, res := range r.Resources {
		c.resources[r.TypeUrl][res.Name] = res
		delete(c.removed[r.TypeUrl], res.Name)
	}
	for _, name := range r.RemovedResources {
		delete(c.resources[r.TypeUrl], name)
		c.removed[r.TypeUrl][name] = true
	}
}

// Subscribe asks for resources by name.
func (c *Client) Subscribe(typeURL string, names ...string) error {
	return c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

// Unsubscribe takes names back.
func (c *Client) Unsubscribe(typeURL string, names ...string) error {
	return c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesUnsubscribe: names})
}

// Send sends a request, with the node in the first.
func (c *Client) Send(r *discoveryv3.DeltaDiscoveryRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Node, c.node = c.node, nil
	return c.stream.Send(r)
}

// Responses are all that came so far.
func (c *Client) Responses() []*discoveryv3.DeltaDiscoveryResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.responses)
}

// Await waits until what the client has satisfies a condition. have gives a
// resource or nil, and whether the server said that there is none.
func (c *Client) Await(ctx context.Context, ok func(have func(typeURL, name string) (r *discoveryv3.Resource, removed bool)) bool) error {
	for {
		done, changed, err := c.look(ok)
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the condition did not come true: %w", ctx.Err())
		}
	}
}

// look asks a condition once. It unlocks whatever the condition does: a test
// may end in it.
func (c *Client) look(ok func(func(string, string) (*discoveryv3.Resource, bool)) bool) (done bool, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok(func(t, n string) (*discoveryv3.Resource, bool) { return c.resources[t][n], c.removed[t][n] }) {
		return true, nil, nil
	}
	return false, c.changed, c.err
}

// Get waits for a resource.
func (c *Client) Get(ctx context.Context, typeURL, name string) (*discoveryv3.Resource, error) {
	var out *discoveryv3.Resource
	err := c.Await(ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
		out, _ = have(typeURL, name)
		return out != nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}
