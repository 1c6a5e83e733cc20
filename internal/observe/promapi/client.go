package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/reclosermesh/recloser/internal/observe/store"
)

// maxAnswer bounds what Client reads of one answer.
const maxAnswer = 64 << 20

// Client asks a Prometheus, or what speaks its API. It is safe for concurrent
// use.
type Client struct {
	base *url.URL
	http *http.Client
}

// NewClient makes a client of the Prometheus at address, for instance
// http://prometheus.monitoring:9090 or a URL with a path in front of /api/v1.
// client carries timeouts and credentials.
func NewClient(address string, client *http.Client) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("prometheus address %q: give http://HOST:PORT or https://HOST:PORT", address)
	}
	return &Client{base: u, http: client}, nil
}

// Latest is now: a Prometheus elsewhere does not tell when its last scrape was.
func (c *Client) Latest() time.Time { return time.Now() }

// Exact is false: the modifier `anchored` is off in a Prometheus unless its
// owner turned it on, and its counters begin at their first sample.
func (c *Client) Exact() bool { return false }

// Query evaluates expr at one instant.
func (c *Client) Query(ctx context.Context, expr string, at time.Time) (parser.Value, error) {
	return c.do(ctx, "/api/v1/query", url.Values{"query": {expr}, "time": {seconds(at)}}, expr)
}

// QueryRange evaluates expr from start to end, both included, each step.
func (c *Client) QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (parser.Value, error) {
	return c.do(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {seconds(start)}, "end": {seconds(end)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}, expr)
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

func (c *Client) do(ctx context.Context, path string, form url.Values, expr string) (parser.Value, error) {
	u := c.base.JoinPath(path).String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask prometheus: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read prometheus' answer from %s: %w", u, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("prometheus' answer from %s is longer than %d bytes", u, maxAnswer)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil || a.Status == "" {
		return nil, fmt.Errorf("%s answered %s with something that is not Prometheus' API", u, resp.Status)
	}
	if a.Status != "success" || a.Data == nil {
		err := fmt.Errorf("prometheus: %s: %s", a.ErrorType, a.Error)
		if a.ErrorType == "bad_data" {
			return nil, &store.QueryError{Expr: expr, Err: err}
		}
		return nil, fmt.Errorf("query %q: %w", expr, err)
	}
	v, err := decode(*a.Data)
	if err != nil {
		return nil, fmt.Errorf("prometheus' answer from %s: %w", u, err)
	}
	return v, nil
}

// point is a pair of seconds and a value in quotes.
type point struct {
	T int64
	V string
}

func (p *point) UnmarshalJSON(b []byte) error {
	var t float64
	pair := []any{&t, &p.V}
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("a point is not a pair")
	}
	p.T = int64(math.Round(t * 1000))
	return nil
}

func (p point) float() (float64, error) { return strconv.ParseFloat(p.V, 64) }

type remoteSeries struct {
	Metric map[string]string `json:"metric"`
	Value  *point            `json:"value"`
	Values []point           `json:"values"`
}

func decode(d data) (parser.Value, error) {
	switch parser.ValueType(d.ResultType) {
	case parser.ValueTypeVector:
		var in []remoteSeries
		if err := json.Unmarshal(d.Result, &in); err != nil {
			return nil, err
		}
		return vector(in)
	case parser.ValueTypeMatrix:
		var in []remoteSeries
		if err := json.Unmarshal(d.Result, &in); err != nil {
			return nil, err
		}
		return matrix(in)
	case parser.ValueTypeScalar:
		var p point
		if err := json.Unmarshal(d.Result, &p); err != nil {
			return nil, err
		}
		v, err := p.float()
		return promql.Scalar{T: p.T, V: v}, err
	case parser.ValueTypeString:
		var p point
		err := json.Unmarshal(d.Result, &p)
		return promql.String{T: p.T, V: p.V}, err
	case parser.ValueTypeNone:
	}
	return nil, fmt.Errorf("result type %q is not known", d.ResultType)
}

func vector(in []remoteSeries) (promql.Vector, error) {
	out := make(promql.Vector, 0, len(in))
	for _, s := range in {
		if s.Value == nil {
			continue // a native histogram
		}
		v, err := s.Value.float()
		if err != nil {
			return nil, err
		}
		out = append(out, promql.Sample{T: s.Value.T, F: v, Metric: labels.FromMap(s.Metric)})
	}
	return out, nil
}

func matrix(in []remoteSeries) (promql.Matrix, error) {
	out := make(promql.Matrix, 0, len(in))
	for _, s := range in {
		points := make([]promql.FPoint, len(s.Values))
		for i, p := range s.Values {
			v, err := p.float()
			if err != nil {
				return nil, err
			}
			points[i] = promql.FPoint{T: p.T, F: v}
		}
		out = append(out, promql.Series{Metric: labels.FromMap(s.Metric), Floats: points})
	}
	return out, nil
}
