package apps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// bbMessage is what building blocks say to each other, as JSON: a request has
// the identifier, an answer has both.
type bbMessage struct {
	RequestUID string `json:"requestUID,omitempty"`
	Payload    string `json:"payload,omitempty"`
}

// maxBBBody bounds the bodies that bb reads, in bytes.
const maxBBBody = 1 << 20

// bbStrategy answers one request. The identifier of the answer is set by the
// caller.
type bbStrategy func(ctx context.Context, req bbMessage) (bbMessage, error)

// bbDownstream is a server that requests are passed to, by either protocol.
type bbDownstream struct {
	name string // as it was given
	send bbStrategy
}

// bbClients makes the outgoing calls of bb.
type bbClients struct {
	http   *http.Client
	logger *slog.Logger
	// downstreams are those of HTTP/1.1, and after them those of gRPC.
	downstreams []bbDownstream
	close       []io.Closer
	// background are the calls that nobody waits for (--fire-and-forget).
	background sync.WaitGroup
}

// newBBClients makes the clients that cfg asks for. They dial when they are
// used.
func newBBClients(cfg *bbConfig, env Env, logger *slog.Logger) (*bbClients, error) {
	timeout := cfg.downstreamTimeout
	if cfg.strategy == bbEgress {
		timeout = cfg.egressTimeout
	}
	proxies := proxyFromEnv(env.Getenv)
	transport := &http.Transport{Proxy: proxies, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second}
	c := &bbClients{
		http: &http.Client{Transport: transport, Timeout: timeout}, logger: logger,
		close: []io.Closer{closer(transport.CloseIdleConnections)},
	}
	for _, url := range cfg.h1Downstreams {
		c.downstreams = append(c.downstreams, bbDownstream{url, func(ctx context.Context, req bbMessage) (bbMessage, error) {
			return c.send(ctx, url, req)
		}})
	}
	for _, server := range cfg.grpcDownstreams {
		d, err := newGRPCDownstream(cfg, server, proxies)
		if err != nil {
			return nil, errors.Join(err, c.end())
		}
		c.close = append(c.close, d.conn)
		c.downstreams = append(c.downstreams, bbDownstream{server, d.send})
	}
	return c, nil
}

// closer is a function that closes.
type closer func()

func (f closer) Close() error {
	f()
	return nil
}

// end waits for the calls in the background and closes all connections.
func (c *bbClients) end() error {
	c.background.Wait()
	var errs []error
	for _, x := range c.close {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// newBBStrategy picks what cfg asks for. cfg was validated.
func newBBStrategy(cfg *bbConfig, c *bbClients) bbStrategy {
	downstreams := c.downstreams
	if cfg.fireAndForget {
		downstreams = c.forgetting()
	}
	switch cfg.strategy {
	case bbPointToPoint:
		return downstreams[0].send
	case bbBroadcast:
		return func(ctx context.Context, req bbMessage) (bbMessage, error) {
			return broadcast(ctx, downstreams, req)
		}
	case bbEgress:
		return func(ctx context.Context, req bbMessage) (bbMessage, error) {
			return c.egress(ctx, cfg.egressMethod, cfg.egressURL, req)
		}
	default:
		return func(context.Context, bbMessage) (bbMessage, error) {
			return bbMessage{Payload: cfg.responseText}, nil
		}
	}
}

// send passes req to a downstream building block and returns its answer. A
// status that is no success is an error whose text is the body.
func (c *bbClients) send(ctx context.Context, url string, req bbMessage) (bbMessage, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return bbMessage{}, err
	}
	status, answer, err := c.call(ctx, http.MethodPost, url, "application/json", body)
	if err != nil {
		return bbMessage{}, err
	}
	if status < 200 || status > 299 {
		return bbMessage{}, fmt.Errorf("downstream server [%s] answered %d: %s", url, status, bytes.TrimSpace(answer))
	}
	var m bbMessage
	if err := json.Unmarshal(answer, &m); err != nil {
		return bbMessage{}, fmt.Errorf("downstream server [%s] answered what is no JSON message: %w", url, err)
	}
	return m, nil
}

// forgetting are the downstream servers as they are called without waiting for
// them.
func (c *bbClients) forgetting() []bbDownstream {
	out := make([]bbDownstream, 0, len(c.downstreams))
	for _, d := range c.downstreams {
		out = append(out, bbDownstream{d.name, func(ctx context.Context, req bbMessage) (bbMessage, error) {
			c.background.Go(func() {
				if _, err := d.send(context.WithoutCancel(ctx), req); err != nil {
					c.logger.Error("fire-and-forget request failed", "downstream", d.name, "request_uid", req.RequestUID, "error", err)
				}
			})
			return bbMessage{Payload: fmt.Sprintf("sent to [%s] without waiting for the answer", d.name)}, nil
		}})
	}
	return out
}

// broadcast sends to all servers at the same time. The payloads are joined by
// commas in the order of the servers; if any of them fails, the answer is the
// joined errors.
func broadcast(ctx context.Context, to []bbDownstream, req bbMessage) (bbMessage, error) {
	payloads := make([]string, len(to))
	errs := make([]error, len(to))
	var wg sync.WaitGroup
	for i, d := range to {
		wg.Go(func() {
			m, err := d.send(ctx, req)
			payloads[i], errs[i] = m.Payload, err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return bbMessage{}, errors.New(strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	return bbMessage{Payload: strings.Join(payloads, ",")}, nil
}

// egress calls a URL with the request's identifier as the body, as the
// original does, and answers with the body that comes back.
func (c *bbClients) egress(ctx context.Context, method, url string, req bbMessage) (bbMessage, error) {
	status, answer, err := c.call(ctx, method, url, "text/plain; charset=utf-8", []byte(req.RequestUID))
	if err != nil {
		return bbMessage{}, err
	}
	if status < 200 || status > 299 {
		return bbMessage{}, fmt.Errorf("[%s] answered %d for request [%s]", url, status, req.RequestUID)
	}
	return bbMessage{Payload: string(answer)}, nil
}

func (c *bbClients) call(ctx context.Context, method, url, contentType string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBBBody))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer of [%s]: %w", url, err)
	}
	return resp.StatusCode, answer, nil
}
