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

// bbClients makes the outgoing calls of bb.
type bbClients struct {
	http   *http.Client
	logger *slog.Logger
	// background are the calls that nobody waits for (--fire-and-forget).
	background sync.WaitGroup
}

// newBBStrategy picks what cfg asks for. cfg was validated.
func newBBStrategy(cfg *bbConfig, c *bbClients) bbStrategy {
	send := c.send
	if cfg.fireAndForget {
		send = c.sendAndForget
	}
	switch cfg.strategy {
	case bbPointToPoint:
		return func(ctx context.Context, req bbMessage) (bbMessage, error) {
			return send(ctx, cfg.h1Downstreams[0], req)
		}
	case bbBroadcast:
		return func(ctx context.Context, req bbMessage) (bbMessage, error) {
			return broadcast(ctx, cfg.h1Downstreams, req, send)
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

// sendAndForget starts send and answers at once.
func (c *bbClients) sendAndForget(ctx context.Context, url string, req bbMessage) (bbMessage, error) {
	c.background.Go(func() {
		if _, err := c.send(context.WithoutCancel(ctx), url, req); err != nil {
			c.logger.Error("fire-and-forget request failed", "downstream", url, "request_uid", req.RequestUID, "error", err)
		}
	})
	return bbMessage{Payload: fmt.Sprintf("sent to [%s] without waiting for the answer", url)}, nil
}

// broadcast sends to all servers at the same time. The payloads are joined by
// commas in the order of the servers; if any of them fails, the answer is the
// joined errors.
func broadcast(ctx context.Context, urls []string, req bbMessage,
	send func(context.Context, string, bbMessage) (bbMessage, error),
) (bbMessage, error) {
	payloads := make([]string, len(urls))
	errs := make([]error, len(urls))
	var wg sync.WaitGroup
	for i, url := range urls {
		wg.Go(func() {
			m, err := send(ctx, url, req)
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
