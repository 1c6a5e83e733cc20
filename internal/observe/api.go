package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/promapi"
	"github.com/reclosermesh/recloser/internal/observe/stat"
	"github.com/reclosermesh/recloser/internal/observe/store"
)

// answerTime bounds how long an answer that is not a stream may take to write.
const answerTime = time.Minute

// maxDocument bounds the body of a document that is sent to us.
const maxDocument = 64 << 10

// Handler answers the API. Every answer but Prometheus' own and the streams is
// a JSON document; a refusal is {"error": "…"} with a fitting status.
func (o *Observer) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/v1/stat":       o.stat,
		"GET /api/v1/breakers":   o.breakers,
		"GET /api/v1/policy":     o.policy,
		"GET /api/v1/lint":       o.lint,
		"GET /api/v1/objects":    o.objects,
		"POST /api/v1/annotate":  o.annotate,
		"GET /api/v1/version":    o.version,
		"/api/v1/query":          o.query,
		"/api/v1/query_range":    o.queryRange,
		"GET /api/v1/namespaces": o.namespaces,
	} {
		mux.Handle(pattern, document(h))
	}
	mux.HandleFunc("GET /api/v1/events", o.events)
	mountPage(mux)
	return o.guard(mux)
}

// document runs h and answers with its error when it has one.
func document(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
		r.Body = http.MaxBytesReader(w, r.Body, maxDocument)
		if err := h(w, r); err != nil {
			refuse(w, statusOf(err), err.Error())
		}
	})
}

// badRequest is an error of the asker.
type badRequest struct{ error }

// Unwrap returns what the asker got wrong.
func (e badRequest) Unwrap() error { return e.error }

func badRequestf(format string, args ...any) error { return badRequest{fmt.Errorf(format, args...)} }

// conflict is a change that what is there forbids.
type conflict struct{ error }

var errNotReady = errors.New("the metrics are not open yet: try again in a moment")

func statusOf(err error) int {
	var (
		asker    badRequest
		question *stat.RequestError
		syntax   *store.QueryError
		missing  *stat.NotFoundError
		absent   *NotFoundError
		exists   conflict
		big      *http.MaxBytesError
	)
	switch {
	case errors.As(err, &big):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &asker), errors.As(err, &question), errors.As(err, &syntax):
		return http.StatusBadRequest
	case errors.As(err, &missing), errors.As(err, &absent):
		return http.StatusNotFound
	case errors.As(err, &exists):
		return http.StatusConflict
	case errors.Is(err, errNotReady):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // nobody is left to tell
}

func reply(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // the asker is gone: nobody is left to tell
	return nil
}

func (o *Observer) query(w http.ResponseWriter, r *http.Request) error {
	q := o.metrics()
	if q == nil {
		return errNotReady
	}
	promapi.Query(q, func() time.Time {
		if t := q.Latest(); !t.IsZero() {
			return t
		}
		return time.Now()
	}).ServeHTTP(w, r)
	return nil
}

func (o *Observer) queryRange(w http.ResponseWriter, r *http.Request) error {
	q := o.metrics()
	if q == nil {
		return errNotReady
	}
	promapi.QueryRange(q).ServeHTTP(w, r)
	return nil
}

// stat answers resource=deploy/x, namespace, all_namespaces, to, to_namespace,
// from, from_namespace, window and selector.
func (o *Observer) stat(w http.ResponseWriter, r *http.Request) error {
	q := o.metrics()
	if q == nil {
		return errNotReady
	}
	form := r.URL.Query()
	req := stat.Request{
		Namespace: form.Get("namespace"), ToNamespace: form.Get("to_namespace"), FromNamespace: form.Get("from_namespace"),
		Selector: form.Get("selector"),
	}
	var err error
	if req.Resource, err = stat.ParseRef(form.Get("resource")); err != nil {
		return badRequest{err}
	}
	for name, ref := range map[string]*stat.Ref{"to": &req.To, "from": &req.From} {
		if s := form.Get(name); s != "" {
			if *ref, err = stat.ParseRef(s); err != nil {
				return badRequestf("--%s: %w", name, err)
			}
		}
	}
	if s := form.Get("window"); s != "" {
		if req.Window, err = time.ParseDuration(s); err != nil {
			return badRequestf("window %q is not a duration: give for instance 10s or 1m", s)
		}
		if req.Window == 0 {
			return badRequestf("window 0s is not allowed: give 1s to 720h")
		}
	}
	if req.AllNamespaces, err = boolParam(r, "all_namespaces"); err != nil {
		return err
	}
	if req.Namespace == "" && !req.AllNamespaces {
		req.Namespace = o.defaultNamespace()
	}
	t, err := stat.Compute(r.Context(), q, o.cfg.Mesh, req)
	if err != nil {
		return err
	}
	return reply(w, t)
}

func boolParam(r *http.Request, name string) (bool, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, badRequestf("%s=%q: give true or false", name, s)
	}
	return v, nil
}

// defaultNamespace is the namespace of a question that names none: the only one
// that has anything in it, or kubectl's "default".
func (o *Observer) defaultNamespace() string {
	only := ""
	for _, r := range o.cfg.Mesh.Resources() {
		if r.Namespace == "" || r.Namespace == only {
			continue
		}
		if only != "" {
			return "default"
		}
		only = r.Namespace
	}
	if only == "" {
		return "default"
	}
	return only
}

// namespaces answers which namespaces there are and which is taken when a
// question names none.
func (o *Observer) namespaces(w http.ResponseWriter, _ *http.Request) error {
	names := []string{}
	for _, r := range o.cfg.Mesh.Resources() {
		if r.Kind == stat.Namespace {
			names = append(names, r.Name)
		}
	}
	return reply(w, map[string]any{"namespaces": names, "default": o.defaultNamespace()})
}

// breakers answers namespace and service, both of the service that is called.
func (o *Observer) breakers(w http.ResponseWriter, r *http.Request) error {
	return reply(w, breakers.ListOf(time.Now(), o.cfg.Reports.Breakers(), filter(r)))
}

func filter(r *http.Request) breakers.Filter {
	return breakers.Filter{Namespace: r.URL.Query().Get("namespace"), Service: r.URL.Query().Get("service")}
}

// policy answers namespace, service, port (by default the service's only one),
// and client, the namespace of the caller, by default the service's own.
func (o *Observer) policy(w http.ResponseWriter, r *http.Request) error {
	form := r.URL.Query()
	req := PolicyRequest{Namespace: form.Get("namespace"), Service: form.Get("service"), Client: form.Get("client")}
	if req.Service == "" {
		return badRequestf("service is missing")
	}
	if form.Get("port") != "" {
		port, err := strconv.ParseUint(form.Get("port"), 10, 16)
		if err != nil || port == 0 {
			return badRequestf("port %q: give a number from 1 to 65535", form.Get("port"))
		}
		req.Port = uint16(port)
	}
	if req.Namespace == "" {
		req.Namespace = o.defaultNamespace()
	}
	if req.Client == "" {
		req.Client = req.Namespace
	}
	p, err := o.cfg.Configuration.Policy(req)
	if err != nil {
		return err
	}
	return reply(w, p)
}

func (o *Observer) lint(w http.ResponseWriter, _ *http.Request) error {
	found := o.cfg.Configuration.Findings()
	if found == nil {
		found = []lint.Finding{}
	}
	return reply(w, map[string][]lint.Finding{"findings": found})
}

// objects answers all objects that were read, each with its origin, and what is
// needed beside them to come to the same answers: see control.Reading.
func (o *Observer) objects(w http.ResponseWriter, _ *http.Request) error {
	r, err := o.cfg.Configuration.Reading()
	if err != nil {
		return err
	}
	return reply(w, r)
}

func (o *Observer) version(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, o.cfg.Version)
}

// isJSON tells whether a body says of itself that it is JSON. A page of another
// site cannot send such a body without being asked first (CORS preflight).
func isJSON(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/json"
}
