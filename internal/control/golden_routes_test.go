package control_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
)

// routes shows where the requests of a client, "NS" or "NS/KIND/WORKLOAD", to
// "SERVICE.NS" and a port go. Origins are written as people read them.
func routes(t *testing.T, w *bytes.Buffer, off *control.Offline, client, service, port string) {
	t.Helper()
	n, err := strconv.ParseUint(port, 10, 16)
	must(t, err)
	name, ns, _ := strings.Cut(service, ".")
	r, err := off.Policy.Routes(clientOf(client), model.Name{Namespace: ns, Name: name}, uint16(n))
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintf(w, "dialect %s\n", r.Dialect)
	printed(t, w, "rules", r.Rules)
	printed(t, w, "losers", r.Losers)
}

func clientOf(s string) model.Client {
	parts := strings.SplitN(s, "/", 3)
	c := model.Client{Namespace: parts[0]}
	if len(parts) == 3 {
		c.Kind, c.Workload = parts[1], parts[2]
	}
	return c
}

func printed(t *testing.T, w *bytes.Buffer, what string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	must(t, err)
	var tree any
	must(t, json.Unmarshal(raw, &tree))
	list, _ := tree.([]any)
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "%s:\n", what)
	y, err := yaml.Marshal(readable(t, tree))
	must(t, err)
	w.Write(y)
}

// readable writes origins, and values that have one, as text.
func readable(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = readable(t, v[i])
		}
	case map[string]any:
		if from, ok := v["origin"].(map[string]any); ok {
			if text, isOrigin := originText(t, from); isOrigin {
				if value, has := v["value"]; has && len(v) == 2 {
					return fmt.Sprintf("%s  # %s", plain(value), text)
				}
				v["origin"] = text
			}
		}
		for k := range v {
			if m, ok := v[k].(map[string]any); ok {
				if text, isOrigin := originText(t, m); isOrigin && k == "origin" {
					v[k] = text
					continue
				}
			}
			v[k] = readable(t, v[k])
		}
		if also, ok := v["also"].([]any); ok {
			for i := range also {
				if m, ok := also[i].(map[string]any); ok {
					also[i], _ = originText(t, m)
				}
			}
		}
	}
	return v
}

func plain(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func originText(t *testing.T, m map[string]any) (string, bool) {
	t.Helper()
	raw, err := json.Marshal(m)
	must(t, err)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var o origin.Origin
	if d.Decode(&o) != nil {
		return "", false
	}
	return o.String(), true
}
