// Package promapi speaks the query part of Prometheus' HTTP API, both ways:
// Handler answers it, so that Grafana, promtool or curl can ask the metrics
// that a mesh keeps, and Client asks it of a Prometheus that exists already.
//
// Format and parameters: https://prometheus.io/docs/prometheus/latest/querying/api/
// (instant and range queries). Values are PromQL's own types, so that what asks
// does not see which of the two answers. Native histograms are passed on by
// Handler and not read by Client.
package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/reclosermesh/recloser/internal/observe/store"
)

// Querier answers PromQL.
type Querier interface {
	Query(ctx context.Context, expr string, at time.Time) (parser.Value, error)
	QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (parser.Value, error)
}

// maxPoints is the most steps of a range query, as in Prometheus.
const maxPoints = 11_000

// maxForm bounds the body of a query that is sent by POST.
const maxForm = 1 << 20

// answer is the envelope of every answer.
type answer struct {
	Status    string `json:"status"`
	Data      *data  `json:"data,omitempty"`
	ErrorType string `json:"errorType,omitempty"`
	Error     string `json:"error,omitempty"`
}

type data struct {
	ResultType string          `json:"resultType"`
	Result     json.RawMessage `json:"result"`
}

// paramError is a parameter that cannot be understood.
type paramError struct{ err error }

func (e *paramError) Error() string { return e.err.Error() }

// Query answers /api/v1/query. now is the instant of a query that gives none.
func Query(q Querier, now func() time.Time) http.Handler {
	return handler(func(r *http.Request) (parser.Value, error) {
		at, err := timeParam(r, "time", now())
		if err != nil {
			return nil, err
		}
		ctx, cancel, err := withTimeout(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		return q.Query(ctx, r.Form.Get("query"), at)
	})
}

// QueryRange answers /api/v1/query_range.
func QueryRange(q Querier) http.Handler {
	return handler(func(r *http.Request) (parser.Value, error) {
		start, err1 := timeParam(r, "start", time.Time{})
		end, err2 := timeParam(r, "end", time.Time{})
		step, err3 := durationParam(r, "step")
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		switch {
		case end.Before(start):
			return nil, &paramError{errors.New("end is before start")}
		case step <= 0:
			return nil, &paramError{fmt.Errorf("step is %s: give more than 0", step)}
		case end.Sub(start)/step > maxPoints:
			return nil, &paramError{fmt.Errorf("%d steps are more than %d: give a longer step or a shorter range", end.Sub(start)/step, maxPoints)}
		}
		ctx, cancel, err := withTimeout(r)
		if err != nil {
			return nil, err
		}
		defer cancel()
		return q.QueryRange(ctx, r.Form.Get("query"), start, end, step)
	})
}

func handler(run func(*http.Request) (parser.Value, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			fail(w, &paramError{err})
			return
		}
		if r.Form.Get("query") == "" {
			fail(w, &paramError{errors.New("query is missing")})
			return
		}
		v, err := run(r)
		if err != nil {
			fail(w, err)
			return
		}
		result, err := json.Marshal(v)
		if err != nil {
			fail(w, err)
			return
		}
		write(w, http.StatusOK, answer{Status: "success", Data: &data{ResultType: string(v.Type()), Result: result}})
	})
}

// fail answers with the status and error type that Prometheus has for err.
func fail(w http.ResponseWriter, err error) {
	var (
		param    *paramError
		syntax   *store.QueryError
		timeout  promql.ErrQueryTimeout
		canceled promql.ErrQueryCanceled
		storage  promql.ErrStorage
	)
	status, kind := http.StatusUnprocessableEntity, "execution"
	switch {
	case errors.As(err, &param), errors.As(err, &syntax):
		status, kind = http.StatusBadRequest, "bad_data"
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		status, kind = http.StatusServiceUnavailable, "timeout"
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		status, kind = 499, "canceled"
	case errors.As(err, &storage):
		status, kind = http.StatusInternalServerError, "internal"
	}
	write(w, status, answer{Status: "error", ErrorType: kind, Error: err.Error()})
}

func write(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the asker is gone: nobody is left to tell
}

// timeParam reads seconds since 1970, with or without a fraction, or RFC 3339.
func timeParam(r *http.Request, name string, missing time.Time) (time.Time, error) {
	s := r.Form.Get(name)
	if s == "" {
		if missing.IsZero() {
			return missing, &paramError{fmt.Errorf("%s is missing", name)}
		}
		return missing, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<40 {
		return time.UnixMilli(int64(math.Round(f * 1000))), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Time{}, &paramError{fmt.Errorf("%s: %q is not a time: give seconds since 1970 or RFC 3339", name, s)}
}

// durationParam reads seconds, with or without a fraction, or 5m.
func durationParam(r *http.Request, name string) (time.Duration, error) {
	s := r.Form.Get(name)
	if s == "" {
		return 0, &paramError{fmt.Errorf("%s is missing", name)}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<32 {
		return time.Duration(f * float64(time.Second)), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, &paramError{fmt.Errorf("%s: %q is not a duration: give seconds or a number with ms, s, m, h, d, w or y", name, s)}
}

func withTimeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	if r.Form.Get("timeout") == "" {
		return r.Context(), func() {}, nil
	}
	d, err := durationParam(r, "timeout")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}
