// Package client asks the HTTP API of a control plane: the other end of package
// observe, for the command line, the demo and programs.
//
// A Client is safe for concurrent use. It keeps no state but idle connections;
// Close lets them go.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// DefaultURL is where a control plane of this machine listens.
const DefaultURL = "http://" + observe.DefaultAddress

// maxAnswer bounds what is read of an answer that is not a stream, and
// maxObjects of the answer with all objects.
const (
	maxAnswer  = 64 << 20
	maxObjects = 1 << 30
)

// silence is how long an event stream may say nothing before it is taken for
// dead: three heartbeats.
const silence = 30 * time.Second

// Client asks one control plane.
type Client struct {
	base *url.URL
	http *http.Client
}

// New makes a client of the control plane at address, a URL.
func New(address string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("control plane address %q: give http://HOST:PORT", address)
	}
	return &Client{base: u, http: &http.Client{
		// Without a proxy of the environment: `recloser up` sets one for the
		// programs that it runs, and the control plane is not behind it.
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ResponseHeaderTimeout: 45 * time.Second,
			MaxIdleConnsPerHost:   2,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UnreachableError says that no control plane answers.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no control plane answers at %s: %v (is `recloser up` or `recloser control` running? --control or RECLOSER_CONTROL name another)", e.URL, e.Err)
}

// Unwrap returns what the connection failed with.
func (e *UnreachableError) Unwrap() error { return e.Err }

// APIError is a refusal of the control plane.
type APIError struct {
	Status int // HTTP
	Text   string
}

func (e *APIError) Error() string { return e.Text }

// Stat asks for a table.
func (c *Client) Stat(ctx context.Context, r stat.Request) (*stat.Table, error) {
	q := url.Values{}
	set(q, "resource", ref(r.Resource))
	set(q, "namespace", r.Namespace)
	set(q, "to", ref(r.To))
	set(q, "to_namespace", r.ToNamespace)
	set(q, "from", ref(r.From))
	set(q, "from_namespace", r.FromNamespace)
	set(q, "selector", r.Selector)
	if r.AllNamespaces {
		q.Set("all_namespaces", "true")
	}
	if r.Window != 0 {
		q.Set("window", r.Window.String())
	}
	var t stat.Table
	return &t, c.get(ctx, "/api/v1/stat", q, &t)
}

func ref(r stat.Ref) string {
	if r == (stat.Ref{}) {
		return ""
	}
	return r.String()
}

func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

func filter(f breakers.Filter) url.Values {
	q := url.Values{}
	set(q, "namespace", f.Namespace)
	set(q, "service", f.Service)
	return q
}

// Breakers asks for the state of breakers.
func (c *Client) Breakers(ctx context.Context, f breakers.Filter) (*breakers.List, error) {
	var l breakers.List
	return &l, c.get(ctx, "/api/v1/breakers", filter(f), &l)
}

// Policy asks for an effective policy; both forms are kept as JSON.
func (c *Client) Policy(ctx context.Context, r observe.PolicyRequest) (effective, linkerd json.RawMessage, err error) {
	q := url.Values{"service": {r.Service}}
	if r.Port != 0 {
		q.Set("port", strconv.Itoa(int(r.Port)))
	}
	set(q, "namespace", r.Namespace)
	set(q, "client", r.Client)
	var p struct {
		Effective json.RawMessage `json:"effective"`
		Linkerd   json.RawMessage `json:"linkerd"`
	}
	err = c.get(ctx, "/api/v1/policy", q, &p)
	return p.Effective, p.Linkerd, err
}

// Lint asks what is wrong with the configuration that runs.
func (c *Client) Lint(ctx context.Context) ([]lint.Finding, error) {
	var f struct {
		Findings []lint.Finding `json:"findings"`
	}
	err := c.get(ctx, "/api/v1/lint", nil, &f)
	return f.Findings, err
}

// Objects asks for everything that the control plane has read, from which
// control.Restore makes the same World and policy here.
func (c *Client) Objects(ctx context.Context) (*control.Reading, error) {
	var r control.Reading
	return &r, c.doBounded(ctx, http.MethodGet, "/api/v1/objects", nil, nil, &r, maxObjects)
}

// Annotate changes annotations.
func (c *Client) Annotate(ctx context.Context, a observe.Annotation) (*observe.Annotated, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	var done observe.Annotated
	return &done, c.do(ctx, http.MethodPost, "/api/v1/annotate", nil, bytes.NewReader(body), &done)
}

// Version asks for the control plane's version document.
func (c *Client) Version(ctx context.Context) (json.RawMessage, error) {
	var v json.RawMessage
	err := c.get(ctx, "/api/v1/version", nil, &v)
	return v, err
}

// ErrCut says that an event stream ended without its last line.
var ErrCut = errors.New("the stream of events was cut")

// Events calls put with each line of a stream of events but heartbeats. It
// returns nil when the control plane ended the stream, put's error when it has
// one, ctx's when ctx ended, and ErrCut when the connection broke or fell
// silent.
func (c *Client) Events(ctx context.Context, f breakers.Filter, follow bool, put func(breakers.Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q := filter(f)
	if follow {
		q.Set("follow", "true")
	}
	resp, err := c.send(ctx, http.MethodGet, "/api/v1/events", q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%w: nothing came for %s", ErrCut, silence)) })
	defer watch.Stop()
	dec := json.NewDecoder(resp.Body)
	for {
		var l breakers.Line
		if err := dec.Decode(&l); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return fmt.Errorf("%w: %w", ErrCut, err)
		}
		watch.Reset(silence)
		if l.Event != nil || l.Lost > 0 || l.End != "" {
			if err := put(l); err != nil {
				return err
			}
		}
		if l.End != "" {
			return nil
		}
	}
}

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	return c.do(ctx, http.MethodGet, path, q, nil, into)
}

func (c *Client) do(ctx context.Context, method, path string, q url.Values, body io.Reader, into any) error {
	return c.doBounded(ctx, method, path, q, body, into, maxAnswer)
}

func (c *Client) doBounded(ctx context.Context, method, path string, q url.Values, body io.Reader, into any, most int64) error {
	resp, err := c.send(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", resp.Request.URL, err)
	}
	if int64(len(b)) > most {
		return fmt.Errorf("the answer of %s is longer than %d bytes", resp.Request.URL, most)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the answer of %s is not what a control plane says: %w", resp.Request.URL, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // the address is said once
		}
		return nil, &UnreachableError{URL: c.base.String(), Err: err}
	}
	return resp, nil
}

// refusal reads why an answer is not a good one.
func refusal(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var doc struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(b, &doc) == nil && doc.Error != "" {
		return &APIError{Status: resp.StatusCode, Text: doc.Error}
	}
	return &APIError{Status: resp.StatusCode, Text: fmt.Sprintf("%s answered %s: %.200s", resp.Request.URL, resp.Status, strings.TrimSpace(string(b)))}
}
